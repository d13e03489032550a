mod blocks;
mod cases;
mod generate;
mod properties;
mod suite;

use super::check::{SCANS, check, scan, scan_with};
