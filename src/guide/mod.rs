//! Guides: where the model is, and the layer in whole programs.
//!
//! These pages have no items. They exist in the documentation only, and their examples are tests.
//!
//! | page | question |
//! |---|---|
//! | [`where_the_model_is`] | Which requests are read, and where is their model? |
//! | [`what_the_response_says`] | Which model does a response name, and where? |
//! | [`reqwest_client`] | How does a handler forward the request with reqwest? |
//! | [`choosing_upstreams`] | How does the model decide which upstream gets the request? |
//! | [`policies`] | How do tenants or routes differ in policy, and how does a policy change at run time? |
//! | [`limits`] | On which side of a concurrency limit, a timeout or a body limit does the layer go? |
//! | [`nested_routers`] | Which path does the layer see under `nest`? |
//! | [`observing`] | How does a program see every resolution and every rejection? |
//! | [`testing`] | How is code around the layer tested without a registry? |

pub mod choosing_upstreams;
pub mod limits;
pub mod nested_routers;
pub mod observing;
pub mod policies;
pub mod reqwest_client;
pub mod testing;
pub mod what_the_response_says;
pub mod where_the_model_is;
