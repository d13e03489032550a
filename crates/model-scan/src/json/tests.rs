//! Tests of the JSON scanner, most of them by all ways to scan.

mod blocks;
mod cases;
mod generate;
mod properties;
mod suite;

use super::oracle::{SCANS, check, check_and_scan, scan, scan_with};
