pub(crate) mod registry_server;
