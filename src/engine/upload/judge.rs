//! Judging: whether each source is a file that its folder takes, told before any of its bytes are sent. On a thread that
//! may block, since disks may be slow; it opens files, and writes nothing anywhere.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;

use super::check::{self, Candidate, FolderRules, Refusal};
use super::sources::{self, Sources};
use super::{Interrupt, Outcome};

/// Files judged ahead of those under way; each is held open.
pub(super) const AHEAD: usize = 32;

/// What reading a source came to.
pub(super) enum Judged {
    Fit(Candidate),
    Unfit(PathBuf, Refusal),
    Lost(io::Error),
}

/// The first file for which nothing of an atomic upload is stored; never one of any other upload.
pub(super) type Spoilt = Arc<OnceLock<String>>;

/// What a file that nothing is wrong with comes to where another one failed.
pub(super) fn spoilt_by(first: &str) -> Outcome {
    let why = format!("nothing is stored, since {first} failed: --atomic stores all or none");
    Outcome::failed(&why, "STORAGE_ERROR")
}

/// Looks at all sources before the first is sent: one that is not taken spoils the upload while it costs nothing.
pub(super) async fn all(sources: Sources, folder: FolderRules, spoilt: Spoilt) -> io::Result<Sources> {
    let look = move || {
        let mut first = sources.refused.first().map(|(path, _)| path.clone());
        for record in &sources.files {
            if first.is_some() {
                break;
            }
            let judged = check::candidate(sources::path_of(&record?), &folder);
            first = judged.err().map(|(path, _)| path);
        }
        if let Some(path) = first {
            spoilt.get_or_init(|| path.display().to_string());
        }
        Ok(sources)
    };
    tokio::task::spawn_blocking(look)
        .await
        .unwrap_or_else(|lost| Err(io::Error::other(lost)))
}

/// Judges the sources one after the other on a thread that may block, a little ahead of who takes them.
pub(super) fn each(sources: Sources, folder: FolderRules, interrupt: Interrupt) -> mpsc::Receiver<Judged> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let refused = sources.refused.into_iter();
        let unfit = refused.map(|(path, why)| Judged::Unfit(path, why));
        let files = sources.files.iter().map(|record| match record {
            Ok(record) => match check::candidate(sources::path_of(&record), &folder) {
                Ok(candidate) => Judged::Fit(candidate),
                Err((path, why)) => Judged::Unfit(path, why),
            },
            Err(error) => Judged::Lost(error),
        });
        for judged in files.chain(unfit) {
            let lost = matches!(judged, Judged::Lost(_));
            // Nobody listens once the upload ended.
            if interrupt.is_requested() || sender.blocking_send(judged).is_err() || lost {
                break;
            }
        }
    });
    receiver
}
