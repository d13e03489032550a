//! The error of settings whose values are not allowed.

use std::fmt;

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

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.setting, self.reason)
    }
}

impl std::error::Error for ConfigError {}
