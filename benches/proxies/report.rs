//! The tables.

use crate::{
    measure::{Figures, Row},
    streams::{self, Streams},
    subjects::{Kind, Subject},
};

pub(crate) fn print(subjects: &[Subject], rows: &[Row]) {
    let all: Vec<&Subject> = subjects.iter().collect();
    let proxies: Vec<&Subject> = subjects
        .iter()
        .filter(|it| it.kind != Kind::Direct)
        .collect();
    let ratios = [Kind::Plain, Kind::Nginx];
    let columns = ratios.map(|kind| format!("× {} (target)", kind.name()));
    let ratios = |row: &Row| ratios.map(|kind| ratio(row, kind)).to_vec();
    println!("### CPU time per request, µs\n");
    table(rows, &proxies, &|it| number(it.cpu), &columns, &ratios);
    println!("### Latency, µs: median / 99th percentile\n");
    let latency = |it: &Figures| format!("{} / {}", number(it.median), number(it.p99));
    table(rows, &all, &latency, &[], &|_| vec![]);
    println!("### Peak memory, MiB\n");
    table(rows, &proxies, &|it| number(it.peak_mib), &[], &|_| vec![]);
}

fn table(
    rows: &[Row],
    subjects: &[&Subject],
    cell: &dyn Fn(&Figures) -> String,
    more_columns: &[String],
    more_cells: &dyn Fn(&Row) -> Vec<String>,
) {
    let names = subjects.iter().map(|it| it.kind.name().to_owned());
    let names: Vec<String> = names.chain(more_columns.iter().cloned()).collect();
    println!("| scenario | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len()));
    for row in rows {
        let cells = subjects
            .iter()
            .map(|it| row.of(it.kind).map_or(absence(it).to_owned(), cell));
        let cells: Vec<String> = cells.chain(more_cells(row)).collect();
        println!("| {} | {} |", row.scenario.name, cells.join(" | "));
    }
    println!();
}

pub(crate) fn print_streams(subjects: &[Subject], streams: &Streams) {
    println!("### {}\n", streams::NAME);
    println!(
        "| | CPU time per event, µs | added latency per event, µs: median / 99th percentile | \
         memory per stream, KiB |\n|---|---|---|---|"
    );
    for subject in subjects.iter().filter(|it| it.kind != Kind::Direct) {
        let cells = match streams.of(subject.kind) {
            Some(it) => [
                number(it.cpu),
                format!("{} / {}", number(it.added_median), number(it.added_p99)),
                number(it.kib_per_stream),
            ],
            None => [(); 3].map(|()| absence(subject).to_owned()),
        };
        println!("| {} | {} |", subject.kind.name(), cells.join(" | "));
    }
    println!(
        "\nWithout a proxy an event takes {} µs in the median, and {} in the 99th percentile.\n",
        number(streams.direct_median),
        number(streams.direct_p99)
    );
}

/// Returns why a subject has no figures.
fn absence(subject: &Subject) -> &'static str {
    match subject.address {
        Some(_) => "fails",
        None => "not installed",
    }
}

/// Returns this proxy's CPU time as a multiple of another's, with its target.
fn ratio(row: &Row, kind: Kind) -> String {
    let (Some(this), Some(other)) = (row.of(Kind::This), row.of(kind)) else {
        return String::new();
    };
    let ratio = format!("{:.2}", this.cpu / other.cpu);
    match row.scenario.targets.iter().find(|it| it.0 == kind) {
        Some((_, target)) => format!("{ratio} (≤ {target})"),
        None => ratio,
    }
}

/// Returns two or more digits, with commas between thousands.
fn number(value: f64) -> String {
    if value < 0.0 {
        return format!("−{}", number(-value));
    }
    if value < 10.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
