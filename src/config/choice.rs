//! Parses the settings that have a few named values.

use std::{fmt::Display, str::FromStr};

use super::ConfigError;
use crate::{
    endpoint::Endpoint,
    resolve::{MissingModel, UnknownModel},
    response::ResponseModel,
};

impl FromStr for UnknownModel {
    type Err = ConfigError;

    /// Parses [`as_str`](Self::as_str), ignoring case and white space around it.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        parse("unknown_model", text, &Self::ALL)
    }
}

impl FromStr for MissingModel {
    type Err = ConfigError;

    /// Parses [`as_str`](Self::as_str), ignoring case and white space around it.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        parse("missing_model", text, &Self::ALL)
    }
}

impl FromStr for Endpoint {
    type Err = ConfigError;

    /// Parses [`as_str`](Self::as_str), ignoring case and white space around it.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        parse("endpoint", text, &Self::ALL)
    }
}

impl FromStr for ResponseModel {
    type Err = ConfigError;

    /// Parses [`as_str`](Self::as_str), ignoring case and white space around it.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        parse("response_model", text, &Self::ALL)
    }
}

fn parse<T: Copy + Display>(
    setting: &'static str,
    text: &str,
    choices: &[T],
) -> Result<T, ConfigError> {
    let names: Vec<_> = choices.iter().map(ToString::to_string).collect();
    let position = names
        .iter()
        .position(|name| name.eq_ignore_ascii_case(text.trim()));
    position.map(|index| choices[index]).ok_or_else(|| {
        let reason = format!("is {text:?}; it must be one of {}", names.join(", "));
        ConfigError::new(setting, reason)
    })
}
