//! The operator's aliases: other names for models of the catalog.

use crate::registry::{Catalog, CatalogMatch, ResolvedBy};

/// Other names for models of the catalog, which apply to names that the catalog does not have.
///
/// In the order in which they are tried: exact ones, then patterns, the longest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aliases(Vec<Alias>);

#[derive(Clone, Debug)]
struct Alias {
    /// The name as the operator spells it.
    name: String,
    /// The name in lower case: all of it, or up to its `*`.
    before: String,
    /// The rest behind the `*`, if there is one.
    after: Option<String>,
    model: String,
}

impl Aliases {
    /// Adds an alias, in place of an earlier one of the same name. The error says which rule is
    /// violated.
    pub(crate) fn add(&mut self, name: &str, model: &str) -> Result<(), &'static str> {
        let (name, model) = (name.trim(), model.trim());
        if name.is_empty() || model.is_empty() {
            return Err("must have a name and a model");
        }
        if name.matches('*').count() > 1 {
            return Err("must have at most one '*' in its name");
        }
        let folded = name.to_lowercase();
        let (before, after) = match folded.split_once('*') {
            Some((before, after)) => (before.to_owned(), Some(after.to_owned())),
            None => (folded, None),
        };
        let alias = Alias {
            name: name.into(),
            before,
            after,
            model: model.into(),
        };
        self.0.retain(|other| other.key() != alias.key());
        self.0.push(alias);
        self.0.sort_by_key(|alias| {
            let len = alias.before.len() + alias.after.as_ref().map_or(0, String::len);
            (alias.after.is_some(), std::cmp::Reverse(len))
        });
        Ok(())
    }

    /// Returns the entry of the first alias that matches and whose model the catalog has.
    pub(crate) fn find<'a>(&self, catalog: &'a Catalog, name: &str) -> Option<CatalogMatch<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let name = name.trim().to_lowercase();
        let mut matching = self.0.iter().filter(|alias| alias.matches(&name));
        let found = matching.find_map(|alias| catalog.find(&alias.model))?;
        Some(CatalogMatch {
            resolved_by: ResolvedBy::Alias,
            ..found
        })
    }

    /// Returns the aliases without a `*` that stand for a model of the catalog, and that model.
    pub(crate) fn exact<'a>(
        &'a self,
        catalog: &'a Catalog,
    ) -> impl Iterator<Item = (&'a str, CatalogMatch<'a>)> {
        self.0
            .iter()
            .filter(|alias| alias.after.is_none())
            // A name of the catalog goes before an alias.
            .filter(|alias| catalog.find(&alias.name).is_none())
            .filter_map(|alias| Some((&*alias.name, catalog.find(&alias.model)?)))
    }

    /// Returns the name and the model of each alias whose model the catalog does not have.
    pub(crate) fn unresolved<'a>(
        &'a self,
        catalog: &'a Catalog,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0
            .iter()
            .filter(|alias| catalog.find(&alias.model).is_none())
            .map(|alias| (&*alias.name, &*alias.model))
    }
}

impl Alias {
    fn key(&self) -> (&str, Option<&str>) {
        (&self.before, self.after.as_deref())
    }

    /// Compares a name in lower case.
    fn matches(&self, name: &str) -> bool {
        match &self.after {
            None => name == self.before,
            Some(after) => name
                .strip_prefix(&*self.before)
                .is_some_and(|rest| rest.ends_with(&**after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::registry::ModelEntry;

    fn catalog(names: &[&str]) -> Catalog {
        Catalog::from_entries(names.iter().map(|name| ModelEntry::new(name, name))).unwrap()
    }

    fn aliases(pairs: &[(&str, &str)]) -> Aliases {
        let mut aliases = Aliases::default();
        for (name, model) in pairs {
            aliases.add(name, model).unwrap();
        }
        aliases
    }

    #[test]
    fn exact_alias_goes_before_a_pattern_and_the_longest_before_others() {
        let catalog = catalog(&["a", "b", "c", "d", "Claude X"]);
        let aliases = aliases(&[
            ("*", "a"),
            ("Claude-*", "b"),
            ("claude-opus-*", "c"),
            ("claude-opus-4", "d"),
            ("*[1m]", "claude_x"),
            ("gone-*", "no-such-model"),
            // An alias is never resolved by another.
            ("chain", "claude-opus-4"),
            ("twice", "a"),
            ("TWICE", "b"),
        ]);
        for (name, model) in [
            ("x", "a"),
            (" CLAUDE-sonnet ", "b"),
            ("claude-", "b"),
            ("claude-opus-5", "c"),
            ("claude-Opus-4", "d"),
            ("opus[1m]", "Claude X"),
            ("gone-1", "a"),
            ("chain", "a"),
            ("twice", "b"),
        ] {
            let found = aliases.find(&catalog, name).unwrap();
            assert_eq!(found.entry.name(), model, "{name}");
            assert_eq!(found.resolved_by, ResolvedBy::Alias);
        }
        let unresolved: Vec<_> = aliases.unresolved(&catalog).map(|(name, _)| name).collect();
        assert_eq!(unresolved, ["chain", "gone-*"]);
        let exact: Vec<_> = aliases.exact(&catalog).map(|(name, _)| name).collect();
        assert_eq!(exact, ["claude-opus-4", "TWICE"]);
    }

    #[test]
    fn invalid_alias_is_an_error() {
        for (name, model) in [("", "a"), (" ", "a"), ("a", ""), ("a*b*", "c"), ("**", "c")] {
            assert!(Aliases::default().add(name, model).is_err(), "{name:?}");
        }
    }

    /// Matches by trying every part of the name for the `*`.
    fn is_match(pattern: &str, name: &str) -> bool {
        match pattern.split_once('*') {
            None => pattern == name,
            Some((before, after)) => (0..=name.len()).any(|start| {
                (start..=name.len())
                    .any(|end| format!("{before}{}{after}", &name[start..end]) == name)
            }),
        }
    }

    proptest! {
        #[test]
        fn finds_what_trying_everything_finds(
            names in prop::collection::vec("[ab]{0,2}\\*?[ab]{1,2}", 0..6),
            name in "[ab]{0,5}",
        ) {
            // The model of each alias is its place in the list.
            let models: Vec<_> = (0..names.len()).map(|place| format!("m{place}")).collect();
            let pairs = names.iter().zip(&models);
            let pairs: Vec<_> = pairs.map(|(name, model)| (&**name, &**model)).collect();
            let listed: Vec<_> = models.iter().map(|model| &**model).chain(["m"]).collect();
            let catalog = catalog(&listed);
            let aliases = aliases(&pairs);
            let found = aliases.find(&catalog, &name).map(|found| found.entry.name());
            let expected: Vec<_> = pairs.iter().filter(|(alias, _)| is_match(alias, &name)).collect();
            let rank = |alias: &str| (!alias.contains('*'), alias.len());
            let best = expected.iter().map(|(alias, _)| rank(alias)).max();
            match found {
                None => prop_assert!(expected.is_empty()),
                Some(model) => {
                    let chosen = expected.iter().find(|(_, other)| *other == model);
                    prop_assert_eq!(chosen.map(|(alias, _)| rank(alias)), best);
                }
            }
        }
    }
}
