//! The contracts of Tower and of `http_body`, case by case: the bodies of
//! requests and answers under every cut, and calls that are dropped wherever
//! they wait.

mod bodies;
mod drops;
