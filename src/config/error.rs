//! The error of settings whose values are not allowed.

use std::fmt::{self, Display};

use crate::registry::PolicyError;

/// The error of a setting whose value is not allowed.
///
/// Its message names the setting and the allowed values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    setting: &'static str,
    reason: String,
}

impl ConfigError {
    pub(crate) fn new(setting: &'static str, reason: impl Into<String>) -> Self {
        Self {
            setting,
            reason: reason.into(),
        }
    }

    /// Returns the same error of the setting's environment variable.
    pub(super) fn of_variable(self, variable: &'static str) -> Self {
        Self {
            setting: variable,
            ..self
        }
    }

    /// Returns the environment variable or the builder's method that sets it.
    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

impl From<PolicyError> for ConfigError {
    fn from(error: PolicyError) -> Self {
        Self::new(error.setting(), error.into_reason())
    }
}

impl Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.reason)
    }
}

impl std::error::Error for ConfigError {}

/// Parses one of these choices as it is displayed, ignoring case and white space around it.
pub(crate) fn parse_choice<T: Copy + Display>(
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
