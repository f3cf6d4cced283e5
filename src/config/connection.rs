//! Azure's connection strings: `Key=value` pairs with `;` between them, which say in one text where an account is and
//! what opens it. Nothing of a string is repeated in an error, since any part of it may be a secret.
//!
//! # Source
//! Microsoft Learn, "Configure Azure Storage connection strings".

use secrecy::SecretString;
use url::Url;

/// Account of the local emulator, Azurite.
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";
/// The emulator's key: no secret, the same everywhere and published by Microsoft in "Use the Azurite emulator".
const EMULATOR_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
const EMULATOR_PORT: u16 = 10_000;

/// What a connection string says.
#[derive(Debug)]
pub struct ConnectionString {
    pub account_name: String,
    pub opens: AzureKey,
    /// URL of the account's blobs, without a `/` at its end.
    pub endpoint: String,
}

/// What opens an account.
#[derive(Debug)]
pub enum AzureKey {
    Account(SecretString),
    Sas(SecretString),
}

impl ConnectionString {
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let pairs = pairs(text)?;
        let get = |name: &str| {
            let found = pairs.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| *value).filter(|value| !value.is_empty())
        };
        if get("UseDevelopmentStorage").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Self::emulator(get("DevelopmentStorageProxyUri"));
        }
        let blobs = get("BlobEndpoint").map(|url| url.trim_end_matches('/').to_owned());
        let account = get("AccountName")
            .map(str::to_owned)
            .or_else(|| account_of(blobs.as_deref()?));
        let account_name = account.ok_or("names no account (AccountName)")?;
        let endpoint = blobs.unwrap_or_else(|| {
            let protocol = get("DefaultEndpointsProtocol").unwrap_or("https");
            let suffix = get("EndpointSuffix").unwrap_or("core.windows.net");
            format!("{protocol}://{account_name}.blob.{suffix}")
        });
        let secret = |text: &str| SecretString::from(text.to_owned());
        let opens = match (get("AccountKey"), get("SharedAccessSignature")) {
            (Some(key), _) => AzureKey::Account(secret(key)),
            (None, Some(sas)) => AzureKey::Sas(secret(sas)),
            (None, None) => return Err("holds neither AccountKey nor SharedAccessSignature"),
        };
        Ok(Self {
            account_name,
            opens,
            endpoint,
        })
    }

    fn emulator(proxy: Option<&str>) -> Result<Self, &'static str> {
        let host = proxy.unwrap_or("http://127.0.0.1").trim_end_matches('/');
        let mut url = Url::parse(host).map_err(|_| "holds a DevelopmentStorageProxyUri that is no URL")?;
        if url.port().is_none() && url.set_port(Some(EMULATOR_PORT)).is_err() {
            return Err("holds a DevelopmentStorageProxyUri that is no URL");
        }
        Ok(Self {
            account_name: EMULATOR_ACCOUNT.to_owned(),
            opens: AzureKey::Account(EMULATOR_KEY.to_owned().into()),
            endpoint: format!("{}/{EMULATOR_ACCOUNT}", url.as_str().trim_end_matches('/')),
        })
    }
}

fn pairs(text: &str) -> Result<Vec<(&str, &str)>, &'static str> {
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (key, value) = part.split_once('=').ok_or("holds a part without `=`")?;
            Ok((key.trim(), value.trim()))
        })
        .collect()
}

/// The account in a blob endpoint: the first label of `<account>.blob.<suffix>`, the first segment of the path where
/// the host is an address.
fn account_of(endpoint: &str) -> Option<String> {
    let url = Url::parse(endpoint).ok()?;
    match url.host()? {
        url::Host::Domain(name) if name != "localhost" => {
            let (account, rest) = name.split_once('.')?;
            rest.starts_with("blob.").then(|| account.to_owned())
        }
        _ => url.path_segments()?.next().map(str::to_owned),
    }
    .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn read(text: &str) -> (String, String, String) {
        let found = ConnectionString::parse(text).unwrap();
        let secret = match found.opens {
            AzureKey::Account(key) => format!("key {}", key.expose_secret()),
            AzureKey::Sas(sas) => format!("sas {}", sas.expose_secret()),
        };
        (found.account_name, secret, found.endpoint)
    }

    #[test]
    fn an_account_with_its_key() {
        let text = "DefaultEndpointsProtocol=https;AccountName=town;AccountKey=a2V5==;EndpointSuffix=core.chinacloudapi.cn;";
        let (account, secret, endpoint) = read(text);
        assert_eq!((account.as_str(), secret.as_str()), ("town", "key a2V5=="));
        assert_eq!(endpoint, "https://town.blob.core.chinacloudapi.cn");
        let (_, _, endpoint) = read("accountname=town;accountkey=a2V5");
        assert_eq!(endpoint, "https://town.blob.core.windows.net");
    }

    #[test]
    fn a_signature_with_an_endpoint_that_names_the_account() {
        let (account, secret, endpoint) =
            read("BlobEndpoint=https://town.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=a%3D");
        assert_eq!((account.as_str(), secret.as_str()), ("town", "sas sv=1&sig=a%3D"));
        assert_eq!(endpoint, "https://town.blob.core.windows.net");
        let (account, ..) = read("BlobEndpoint=http://127.0.0.1:9/town;SharedAccessSignature=sig=a");
        assert_eq!(account, "town");
    }

    #[test]
    fn the_emulator() {
        let (account, _, endpoint) = read("UseDevelopmentStorage=true");
        assert_eq!(account, EMULATOR_ACCOUNT);
        assert_eq!(endpoint, "http://127.0.0.1:10000/devstoreaccount1");
        let (.., endpoint) = read("UseDevelopmentStorage=TRUE;DevelopmentStorageProxyUri=http://azurite");
        assert_eq!(endpoint, "http://azurite:10000/devstoreaccount1");
    }

    #[test]
    fn what_is_no_connection_string_is_told_without_a_word_of_it() {
        for text in [
            "",
            "hunter2",
            "AccountName=hunter2",
            "AccountKey=hunter2",
            "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=hunter2",
            "BlobEndpoint=https://files.example.org;AccountKey=hunter2",
        ] {
            let error = ConnectionString::parse(text).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
