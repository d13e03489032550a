mod cases;
mod generate;
mod properties;
mod suite;

use super::check::{check, scan};
