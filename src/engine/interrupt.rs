//! The operator's wish to stop. Work that changes something looks at it between items: what is in flight is finished or
//! rolled back, and nothing new is begun.

use tokio::sync::watch;

/// Whether to stop; every clone says the same.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Sender<bool>);

impl Default for Interrupt {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Interrupt {
    /// Asks the work to stop; asking twice is asking once.
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends once somebody asked, at once where that was before.
    ///
    /// # Cancellation
    /// Safe.
    pub async fn requested(&self) {
        // The sender is held by `self`: waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|requested| *requested).await;
    }
}
