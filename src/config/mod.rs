//! `storage.yml`, the environment and their defaults, merged into one plain [`Config`].

mod model;

pub use model::*;
