//! Where an account is and what opens it: `endpoint`, connection string, key, shared access signature or the platform
//! itself, settled and checked so that nothing later can trip over it. No secret is repeated in an error.

use object_store::azure::{AzureAccessKey, MicrosoftAzureBuilder, split_sas};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::config::{AzureConfig, AzureKey, ConnectionString};
use crate::providers::wire;

/// What the platform puts into the environment of a program it gives an identity to. Read here and not with the
/// settings, since none of it is one: it only says where the credentials are to be fetched.
const PLATFORM_VARIABLES: [&str; 7] = [
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
    "MSI_ENDPOINT",
    "IDENTITY_ENDPOINT",
];

/// What opens the account.
enum Opens {
    Key(SecretString),
    Sas(Vec<(String, String)>),
    Platform,
}

/// An account, checked.
pub(super) struct Access {
    opens: Opens,
    /// URL of the account's blobs, without a `/` at its end.
    pub(super) service_url: String,
}

impl Access {
    /// # Errors
    /// What cannot be used, as a sentence.
    pub(super) fn of(config: &AzureConfig) -> Result<Self, String> {
        named(&config.account_name, &config.container_name)?;
        let connection = config.connection_string.as_ref().map(connection).transpose()?;
        let endpoint = match (&config.endpoint, &connection) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, Some(connection)) => connection.endpoint.clone(),
            (None, None) => format!("https://{}.blob.core.windows.net", config.account_name),
        };
        let opens = match (connection, &config.account_key, &config.sas_token) {
            (Some(connection), ..) => opened(connection.opens)?,
            (None, Some(key), _) => opened(AzureKey::Account(key.clone()))?,
            (None, None, Some(sas)) => opened(AzureKey::Sas(sas.clone()))?,
            (None, None, None) => Opens::Platform,
        };
        Ok(Self {
            opens,
            service_url: service_url(&endpoint, &config.account_name)?,
        })
    }

    /// The builder with the credentials.
    pub(super) fn give(self, builder: MicrosoftAzureBuilder) -> MicrosoftAzureBuilder {
        match self.opens {
            Opens::Key(key) => builder.with_access_key(key.expose_secret()),
            Opens::Sas(pairs) => builder.with_sas_authorization(pairs),
            Opens::Platform => PLATFORM_VARIABLES.iter().fold(builder, |builder, name| {
                let key = name.to_ascii_lowercase().parse();
                match (key, std::env::var(name)) {
                    (Ok(key), Ok(value)) if !value.is_empty() => builder.with_config(key, value),
                    _ => builder,
                }
            }),
        }
    }
}

/// # Source
/// Microsoft Learn, "Naming and referencing containers, blobs, and metadata"; wider than the rules there, and no wider
/// than what stands in a URL and a header as it is.
fn named(account: &str, container: &str) -> Result<(), String> {
    let word = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    if !word(account) {
        return Err(format!(
            "`{account}` is not an account's name (key `account_name`)"
        ));
    }
    if !word(container.strip_prefix('$').unwrap_or(container)) {
        return Err(format!(
            "`{container}` is not a container's name (key `container_name`)"
        ));
    }
    Ok(())
}

fn connection(text: &SecretString) -> Result<ConnectionString, String> {
    ConnectionString::parse(text.expose_secret())
        .map_err(|reason| format!("the connection string cannot be used: it {reason}"))
}

fn opened(key: AzureKey) -> Result<Opens, String> {
    match key {
        AzureKey::Account(key) => match AzureAccessKey::try_new(key.expose_secret()) {
            Ok(_) => Ok(Opens::Key(key)),
            Err(_) => Err("the account key is not base64, as account keys are".into()),
        },
        AzureKey::Sas(sas) => {
            let pairs = split_sas(sas.expose_secret()).unwrap_or_default();
            if !pairs.iter().any(|(name, _)| name == "sig") {
                return Err("the SAS token is none: it has no signature (sig=…)".into());
            }
            Ok(Opens::Sas(pairs))
        }
    }
}

/// An account has a host of its own, but for emulators at an address, where its name begins the path.
fn service_url(endpoint: &str, account: &str) -> Result<String, String> {
    let endpoint = wire::checked_endpoint(endpoint)?;
    let url = Url::parse(&endpoint).map_err(|_| "the endpoint is not a URL")?;
    let bare = url.path().trim_matches('/').is_empty();
    let address = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => true,
        None => false,
    };
    Ok(if address && bare {
        format!("{endpoint}/{account}")
    } else {
        endpoint
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> AzureConfig {
        AzureConfig {
            account_name: "town".into(),
            container_name: "files".into(),
            connection_string: None,
            account_key: None,
            sas_token: None,
            endpoint: None,
            access_tier: None,
        }
    }

    fn refused(config: &AzureConfig) -> String {
        Access::of(config).err().expect("a refusal")
    }

    #[test]
    fn an_account_has_a_host_of_its_own_unless_told_otherwise() {
        let url = |endpoint: Option<&str>, connection: Option<&str>| {
            let config = AzureConfig {
                endpoint: endpoint.map(Into::into),
                connection_string: connection.map(|text| text.to_owned().into()),
                ..config()
            };
            Access::of(&config).unwrap().service_url
        };
        let string = "AccountName=town;AccountKey=a2V5;EndpointSuffix=core.chinacloudapi.cn";
        assert_eq!(url(None, None), "https://town.blob.core.windows.net");
        assert_eq!(url(None, Some(string)), "https://town.blob.core.chinacloudapi.cn");
        assert_eq!(
            url(Some("https://files.town.org/"), Some(string)),
            "https://files.town.org"
        );
        assert_eq!(
            url(Some("http://127.0.0.1:10000"), None),
            "http://127.0.0.1:10000/town"
        );
        assert_eq!(
            url(Some("http://localhost:10000/town"), None),
            "http://localhost:10000/town"
        );
        assert_eq!(url(Some("http://[::1]:10000/"), None), "http://[::1]:10000/town");
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_a_word_of_a_secret() {
        let secret = |text: &str| Some(SecretString::from(text.to_owned()));
        for config in [
            AzureConfig {
                account_key: secret("hunter2!"),
                ..config()
            },
            AzureConfig {
                sas_token: secret("?sv=1&hunter2"),
                ..config()
            },
            AzureConfig {
                connection_string: secret("AccountName=town;AccountKey=hunter2!"),
                ..config()
            },
            AzureConfig {
                connection_string: secret("hunter2"),
                ..config()
            },
            AzureConfig {
                endpoint: Some("https://user:hunter2@host".into()),
                ..config()
            },
        ] {
            let error = refused(&config);
            assert!(!error.contains("hunter2"), "{error}");
        }
        for (account, container) in [("", "files"), ("to.wn", "files"), ("town", ""), ("town", "a/b")] {
            let config = AzureConfig {
                account_name: account.into(),
                container_name: container.into(),
                ..config()
            };
            assert!(refused(&config).contains("name"));
        }
    }
}
