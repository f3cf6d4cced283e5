//! Where lifecycle warnings go: to the log, to a file, to a webhook. A warning counts as sent once it has gone in every
//! way that storage.yml names. Whatever can fail comes first, so that one which fails leaves nothing behind in the others.

mod file;
mod webhook;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::engine::lifecycle::{Herald, Notice};

pub use file::NoticeFile;
pub use webhook::Webhook;

/// All ways at once.
#[derive(Debug, Default)]
pub struct Outlets {
    pub webhook: Option<Webhook>,
    pub file: Option<NoticeFile>,
    pub log: bool,
}

/// What storage.yml says of a webhook, and how long its answer may take.
#[derive(Debug)]
pub struct WebhookSettings<'a> {
    pub url: &'a SecretString,
    pub connect_timeout: std::time::Duration,
    pub timeout: std::time::Duration,
}

#[async_trait]
impl Herald for Outlets {
    async fn send(&self, notices: &[Notice]) -> Vec<Result<(), String>> {
        if notices.is_empty() {
            return Vec::new();
        }
        if self.webhook.is_none() && self.file.is_none() && !self.log {
            return vec![
                Err("nobody would see it: the log is silent, and there is no other way".to_owned());
                notices.len()
            ];
        }
        // A file that cannot be written to is known before anybody else is told.
        let file = match self.file.as_ref().map(NoticeFile::open).transpose() {
            Ok(file) => file,
            Err(why) => return vec![Err(why); notices.len()],
        };
        let mut answers = match &self.webhook {
            Some(webhook) => webhook.post(notices).await,
            None => vec![Ok(()); notices.len()],
        };
        if let Some(file) = file {
            let told = notices.iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
            if let Err(why) = file.append(told.map(|(notice, _)| notice)) {
                answers
                    .iter_mut()
                    .filter(|answer| answer.is_ok())
                    .for_each(|answer| *answer = Err(why.clone()));
            }
        }
        if self.log {
            for (notice, _) in notices.iter().zip(&answers).filter(|(_, answer)| answer.is_ok()) {
                tracing::warn!("{}", notice.text);
            }
        }
        answers
    }
}
