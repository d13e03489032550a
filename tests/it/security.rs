//! What SECURITY.md says is shown by tests, and they are there.

use std::{fs, path::Path};

const POLICY: &str = include_str!("../../SECURITY.md");

/// The text of all Rust files under this directory.
fn sources(directory: &Path) -> String {
    let entries = fs::read_dir(directory).unwrap();
    let mut text = String::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            text += &sources(&path);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(path).unwrap();
        }
    }
    text
}

#[test]
fn every_test_that_is_named_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = ["src", "tests"].map(|directory| sources(&root.join(directory)));
    let mut sections = 0;
    for section in POLICY.split("\n### ").skip(1) {
        let title = section.lines().next().unwrap();
        let (_, rest) = section.split_once("- Tests:").expect(title);
        let (tests, _) = rest.split_once("- Left to you:").expect(title);
        // What stands between back-ticks.
        let names: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{title}");
        for name in names {
            let function = format!("fn {name}(");
            let exists = sources.iter().any(|text| text.contains(&function));
            assert!(exists, "{title}: there is no test {name}");
        }
        sections += 1;
    }
    assert_eq!(sections, 8);
}
