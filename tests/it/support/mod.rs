pub(crate) mod body;
pub(crate) mod gateway;
pub(crate) mod registry_server;
pub(crate) mod source;
