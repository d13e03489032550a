//! The setting for the model name in responses.

use std::fmt;

/// The model that a response names.
///
/// The inner service sees the model's ID, so its responses name that.
///
/// # Examples
///
/// ```
/// use tower_model_routing::ResponseModel;
///
/// assert_eq!(ResponseModel::default(), ResponseModel::Unchanged);
/// assert_eq!(ResponseModel::Served.to_string(), "served");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResponseModel {
    /// The model that the inner service named: the response stays as it is.
    #[default]
    Unchanged,
    /// The catalog name of the model that served the request.
    Served,
}

impl ResponseModel {
    /// Returns the setting in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Served => "served",
        }
    }
}

impl fmt::Display for ResponseModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_pads() {
        let shown = format!(
            "{:>10}|{:7}|",
            ResponseModel::Unchanged,
            ResponseModel::Served
        );
        assert_eq!(shown, " unchanged|served |");
    }
}
