//! Where a bucket is: its URL, in path style or virtual-hosted, checked so that nothing later can trip over it.

use crate::config::S3Config;
use crate::providers::wire::checked_endpoint;

const DEFAULT_REGION: &str = "us-east-1";

pub(super) fn region(config: &S3Config) -> &str {
    if config.region.is_empty() {
        DEFAULT_REGION
    } else {
        &config.region
    }
}

/// The bucket's URL, without a `/` at its end.
///
/// An endpoint of one's own means path style, since few such servers answer to `bucket.host`. On AWS a bucket is
/// addressed by its host name, but for names with a dot, which no certificate covers.
pub(super) fn bucket_url(config: &S3Config) -> Result<String, String> {
    let bucket = &config.bucket;
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if bucket.is_empty() {
        return Err("no bucket is set (key `bucket`)".into());
    }
    if !bucket.chars().all(named) || bucket.chars().all(|c| c == '.') {
        return Err(format!("`{bucket}` is not a bucket's name"));
    }
    let region = region(config);
    if !region
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    {
        return Err(format!("`{region}` is not a region"));
    }
    match config.endpoint.as_deref().filter(|e| !e.is_empty()) {
        Some(endpoint) => Ok(format!("{}/{bucket}", checked_endpoint(endpoint)?)),
        None => aws_url(config, region),
    }
}

fn aws_url(config: &S3Config, region: &str) -> Result<String, String> {
    let bucket = &config.bucket;
    let dotted = bucket.contains('.');
    // Source: the endpoints of the aws and aws-cn partitions, Amazon S3 User Guide.
    let domain = if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    };
    match (config.use_accelerate_endpoint, config.force_path_style || dotted) {
        (true, _) if dotted => Err(format!(
            "transfer acceleration does not take `{bucket}`: its name has a dot"
        )),
        (true, _) => Ok(format!("https://{bucket}.s3-accelerate.{domain}")),
        (false, true) => Ok(format!("https://s3.{region}.{domain}/{bucket}")),
        (false, false) => Ok(format!("https://{bucket}.s3.{region}.{domain}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(endpoint: Option<&str>) -> S3Config {
        S3Config {
            bucket: "town".into(),
            region: String::new(),
            endpoint: endpoint.map(Into::into),
            credentials: None,
            force_path_style: false,
            use_accelerate_endpoint: false,
        }
    }

    #[test]
    fn an_endpoint_means_path_style() {
        let url = |e| bucket_url(&config(Some(e))).unwrap();
        assert_eq!(url("http://127.0.0.1:9000"), "http://127.0.0.1:9000/town");
        assert_eq!(
            url("https://s3.example.org/base/"),
            "https://s3.example.org/base/town"
        );
    }

    #[test]
    fn aws_is_addressed_by_host_name_unless_told_otherwise() {
        let plain = config(None);
        assert_eq!(
            bucket_url(&plain).unwrap(),
            "https://town.s3.us-east-1.amazonaws.com"
        );
        let forced = S3Config {
            force_path_style: true,
            region: "eu-west-1".into(),
            ..plain.clone()
        };
        assert_eq!(
            bucket_url(&forced).unwrap(),
            "https://s3.eu-west-1.amazonaws.com/town"
        );
        let dotted = S3Config {
            bucket: "files.town.org".into(),
            ..plain.clone()
        };
        assert_eq!(
            bucket_url(&dotted).unwrap(),
            "https://s3.us-east-1.amazonaws.com/files.town.org"
        );
        let fast = S3Config {
            use_accelerate_endpoint: true,
            ..plain
        };
        assert_eq!(
            bucket_url(&fast).unwrap(),
            "https://town.s3-accelerate.amazonaws.com"
        );
    }

    #[test]
    fn what_cannot_be_sent_to_is_refused_without_repeating_a_password() {
        for endpoint in ["nonsense", "ftp://host", "https://host/?x=1", "file:///x"] {
            assert!(bucket_url(&config(Some(endpoint))).is_err(), "{endpoint}");
        }
        let error = bucket_url(&config(Some("https://user:hunter2@host"))).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        for bucket in ["", "a/b", "a?b", "..", "a b"] {
            let config = S3Config {
                bucket: bucket.into(),
                ..config(None)
            };
            assert!(bucket_url(&config).is_err(), "{bucket}");
        }
    }
}
