//! The setting for the model name in responses.

use std::fmt;

/// The model that a response names.
///
/// The inner service sees the model's ID, so its responses name that. The response of a
/// [fallback](crate::RoutedModel::is_fallback) names the model that served, whatever the setting:
/// a fallback is never silent. Responses of requests that name no model name the catalog name of an
/// ID with both `Served` and `Requested`.
///
/// | a request for | `Unchanged` | `Served` | `Requested` |
/// |---|---|---|---|
/// | `venice-uncensored` | `0xb603…` | `venice-uncensored` | `venice-uncensored` |
/// | `Venice-Uncensored` | `0xb603…` | `venice-uncensored` | `Venice-Uncensored` |
/// | `no-such-model`, served by the fallback | `mistral-31-24b` | `mistral-31-24b` | `mistral-31-24b` |
///
/// # Examples
///
/// ```
/// use tower_model_routing::ResponseModel;
///
/// assert_eq!(ResponseModel::default(), ResponseModel::Unchanged);
/// assert_eq!("requested".parse(), Ok(ResponseModel::Requested));
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
    /// The name that the client sent, as it spelled it.
    Requested,
}

impl ResponseModel {
    pub(crate) const ALL: [Self; 3] = [Self::Unchanged, Self::Served, Self::Requested];

    /// Returns the setting in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Served => "served",
            Self::Requested => "requested",
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
