//! Every environment variable that configuration reads, in one place. A variable that is set to nothing counts
//! as not set, as CivicPress has it.

use std::collections::BTreeMap;

pub const SYSTEM_DATA: &str = "CIVIC_SYSTEM_DATA";
pub const CONFIG_FILE: &str = "CIVIC_STORAGE_CONFIG";
pub const DATABASE_URL: &str = "CIVIC_DATABASE_URL";
/// What the host is called, where its own name does not stay: in a container.
pub const HOST: &str = "CIVIC_HOST_NAME";
pub const ACTIVE_PROVIDER: &str = "STORAGE_ACTIVE_PROVIDER";

/// The variables of one type of provider that name no provider, for one value, first match wins.
type Names = &'static [&'static str];

pub const S3_REGION: Names = &["S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"];
pub const S3_BUCKET: Names = &["S3_BUCKET"];
pub const S3_ENDPOINT: Names = &["S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
/// Access key, secret key and session token, which belong together.
pub const S3_KEYS: [[&str; 3]; 2] = [
    ["S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY", "S3_SESSION_TOKEN"],
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"],
];

pub const AZURE_CONNECTION_STRING: &str = "AZURE_STORAGE_CONNECTION_STRING";
pub const AZURE_ACCOUNT_NAME: &str = "AZURE_STORAGE_ACCOUNT_NAME";
pub const AZURE_ACCOUNT_KEY: &str = "AZURE_STORAGE_ACCOUNT_KEY";
pub const AZURE_CONTAINER: Names = &["AZURE_CONTAINER_NAME"];

pub const GCS_KEY_FILE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
pub const GCS_PROJECT: Names = &["GCS_PROJECT_ID", "GOOGLE_CLOUD_PROJECT"];
pub const GCS_BUCKET: Names = &["GCS_BUCKET"];
pub const GCS_ENDPOINT: Names = &["GCS_ENDPOINT"];

/// The environment as it was when the program began.
#[derive(Clone, Copy)]
pub struct Env<'e>(&'e BTreeMap<String, String>);

impl<'e> Env<'e> {
    #[must_use]
    pub fn new(vars: &'e BTreeMap<String, String>) -> Self {
        Self(vars)
    }

    /// The variable, unless it is empty.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'e str> {
        self.0.get(name).map(String::as_str).filter(|v| !v.is_empty())
    }

    /// The first of these that is set, with its name.
    #[must_use]
    pub fn first(self, names: &[&'static str]) -> Option<(&'static str, &'e str)> {
        names.iter().find_map(|name| Some((*name, self.get(name)?)))
    }
}

/// `CIVIC_STORAGE_<PROVIDER>_<WHAT>`: the name in upper case, everything but ASCII letters and digits as `_`.
#[must_use]
pub fn scoped(provider: &str, what: &str) -> String {
    let upper = |c: char| match c {
        c if c.is_ascii_alphanumeric() => c.to_ascii_uppercase(),
        _ => '_',
    };
    let provider: String = provider.chars().map(upper).collect();
    format!("CIVIC_STORAGE_{provider}_{what}")
}

/// Names are not secret, values may be.
impl std::fmt::Debug for Env<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
