//! The composition root: what one run of a command stands on, each part made when it is first asked for.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io::IsTerminal;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use indicatif::MultiProgress;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind};

use crate::circuits::Circuits;
use crate::cli::{GlobalArgs, ProgressFormat};
use crate::config::{self, Config, DatabaseUrl, LoadRequest, Loaded, ProviderConfig};
use crate::engine::health::Doctor;
use crate::engine::journal::Journal;
use crate::engine::marker::Claim;
use crate::engine::{Clock, Interrupt, SystemClock};
use crate::error::{Code, Exit, Failure};
use crate::metadata::journal::{JournalReader, JournalStore, Owner};
use crate::metadata::sqlite::{self, Patience, SqliteJournal, SqliteStore};
use crate::metadata::{MetadataStore, ProviderRoots};
use crate::metrics::{Key, Metrics, Sample};
use crate::output::{LogSettings, Printer, ProgressMode, Reporter};
use crate::providers::{self, Provider, Reload, Terms};
use crate::resilience::CircuitStore;

/// Everything a command may need.
#[derive(Debug)]
pub struct Context {
    global: GlobalArgs,
    printer: Printer,
    bars: MultiProgress,
    loaded: OnceCell<Loaded>,
    metadata: OnceCell<SqliteStore>,
    journal: Arc<OnceLock<SqliteJournal>>,
    /// By name: clients and circuits are shared by all who ask.
    providers: RefCell<BTreeMap<String, Provider>>,
    /// Requests to a provider at once, where a flag asks for more than storage.yml.
    connections: Cell<Option<usize>>,
    metrics: Arc<Metrics>,
}

impl Context {
    /// Starts logging; nothing else is made or read yet.
    #[must_use]
    pub fn new(global: GlobalArgs, printer: Printer) -> Self {
        let bars = MultiProgress::new();
        let log = LogSettings {
            verbose: global.verbose,
            silent: global.silent,
            format: global.log_format,
            color: printer.colors_stderr(),
        };
        log.start(&bars);
        Self {
            global,
            printer,
            bars,
            loaded: OnceCell::new(),
            metadata: OnceCell::new(),
            journal: Arc::default(),
            providers: RefCell::default(),
            connections: Cell::default(),
            metrics: Arc::default(),
        }
    }

    /// The flags of every command.
    #[must_use]
    pub const fn global(&self) -> &GlobalArgs {
        &self.global
    }

    /// How this run prints.
    #[must_use]
    pub const fn printer(&self) -> &Printer {
        &self.printer
    }

    /// Where time comes from.
    #[must_use]
    pub fn clock(&self) -> impl Clock + use<> {
        SystemClock
    }

    /// What the configuration is found by: flags, working directory and environment.
    ///
    /// # Errors
    /// Where there is no working directory.
    pub fn load_request(&self) -> Result<LoadRequest, Failure> {
        let no_cwd = |error| {
            let message = format!("the working directory cannot be told: {error}");
            Failure::new(Exit::Failed, Code::Error, message)
        };
        Ok(LoadRequest {
            system_data: self.global.system_data.clone(),
            config_file: self.global.config.clone(),
            database: self.global.database.clone(),
            cwd: std::env::current_dir().map_err(no_cwd)?,
            env: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        })
    }

    /// The configuration and where it came from, read once. Its warnings go to stderr then.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn loaded(&self) -> Result<&Loaded, Failure> {
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let loaded = config::load(&self.load_request()?)?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        Ok(self.loaded.get_or_init(|| loaded))
    }

    /// The configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn config(&self) -> Result<&Config, Failure> {
        Ok(&self.loaded()?.config)
    }

    /// The metadata database, opened once.
    ///
    /// # Errors
    /// Where there is none, it cannot be read, or it is of a kind that this version does not read.
    pub fn metadata(&self) -> Result<Arc<dyn MetadataStore>, Failure> {
        Ok(Arc::new(self.sqlite()?))
    }

    /// What was written down by earlier runs, for commands that write nothing.
    ///
    /// # Errors
    /// As [`Self::metadata`].
    pub fn history(&self) -> Result<Arc<dyn JournalReader>, Failure> {
        Ok(Arc::new(self.sqlite()?))
    }

    /// Makes an empty metadata database where there is none; one that is there stays as it is.
    ///
    /// # Errors
    /// Where it cannot be made, or is of a kind that this program does not make.
    pub fn make_database(&self) -> Result<(), Failure> {
        match &self.loaded()?.database {
            DatabaseUrl::Sqlite(path) if std::fs::symlink_metadata(path).is_ok() => Ok(()),
            DatabaseUrl::Sqlite(path) => Ok(sqlite::create(path)?),
            url @ DatabaseUrl::Postgres(_) => {
                let message = format!("this version makes SQLite databases only, and {url} is none");
                Err(Failure::new(Exit::Usage, Code::Configuration, message))
            }
        }
    }

    /// The writing side of the metadata database, opened once; the program's tables are made in it where they are
    /// missing, the database itself never is. Commands that write ask for it before they read anything.
    ///
    /// # Errors
    /// As [`Self::metadata`]; and where the database may not be written to.
    pub fn journal(&self) -> Result<Arc<dyn JournalStore>, Failure> {
        if let Some(journal) = self.journal.get() {
            return Ok(Arc::new(journal.clone()));
        }
        let journal = SqliteJournal::beside(self.sqlite()?)?;
        Ok(Arc::new(self.journal.get_or_init(|| journal).clone()))
    }

    /// Where a command that changes something writes itself down.
    ///
    /// # Errors
    /// As [`Self::journal`].
    pub fn run_journal(&self) -> Result<Journal, Failure> {
        // Who ran sudo matters more than that it was root in the end.
        let user = ["SUDO_USER", "USER", "LOGNAME"]
            .iter()
            .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
        Ok(Journal {
            store: self.journal()?,
            clock: Arc::new(self.clock()),
            owner: Owner::of_this_process(),
            actor: user,
            host: self.host(),
        })
    }

    /// What the host is called for as long as the deployment is on it.
    #[must_use]
    pub fn host(&self) -> String {
        let named = std::env::var(config::HOST).ok().filter(|name| !name.is_empty());
        named.unwrap_or_else(|| Owner::of_this_process().host)
    }

    /// As whom this program asks for providers, for commands that only read.
    ///
    /// # Errors
    /// As [`Self::metadata`].
    pub async fn claim(&self) -> Result<Claim, Failure> {
        let store = self.sqlite()?;
        Ok(Claim {
            installation: store.known_installation().await?,
            database: store.location(),
            host: self.host(),
        })
    }

    fn sqlite(&self) -> Result<SqliteStore, Failure> {
        if let Some(store) = self.metadata.get() {
            return Ok(store.clone());
        }
        let url = &self.loaded()?.database;
        let store = match url {
            DatabaseUrl::Sqlite(path) => SqliteStore::open(path)?,
            DatabaseUrl::Postgres(_) => {
                let message = format!("this version does not read {url} yet: only SQLite databases");
                return Err(Failure::new(Exit::Usage, Code::Configuration, message));
            }
        };
        Ok(self.metadata.get_or_init(|| store).clone())
    }

    /// Lets so many requests be under way to each provider at once, if storage.yml allows for fewer. To be said before any
    /// provider is asked for.
    pub fn connections(&self, at_once: Option<u16>) {
        self.connections.set(at_once.map(usize::from));
    }

    /// Who checks providers; notes the checks where there is a journal to do so.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    pub fn doctor(&self, notes: Option<Arc<dyn JournalStore>>) -> Result<Doctor, Failure> {
        Ok(Doctor {
            notes,
            clock: Arc::new(self.clock()),
            interval: self.config()?.global.health_check_interval,
        })
    }

    /// The provider of that name, its clients built and nothing sent.
    ///
    /// # Errors
    /// Where no enabled provider has the name, or its configuration cannot be used.
    pub fn provider(&self, name: &str) -> Result<Provider, Failure> {
        let config = self.config()?;
        let provider = self.provider_config(name)?;
        if !provider.enabled {
            let message = format!("provider {name} is disabled in storage.yml");
            return Err(Failure::usage(message).detail("provider", name));
        }
        self.built(config, provider)
    }

    fn built(&self, config: &Config, provider: &ProviderConfig) -> Result<Provider, Failure> {
        if let Some(built) = self.providers.borrow().get(&provider.name) {
            return Ok(built.clone());
        }
        let terms = Terms {
            circuits: self.circuits(),
            has_target: config.failover_after(&provider.name).next().is_some(),
            connections: self.connections.get(),
            reload: self.reload(&provider.name),
        };
        let built = providers::build_on(provider, &config.global, terms)?.measured(&self.metrics);
        let mut providers = self.providers.borrow_mut();
        Ok(providers.entry(provider.name.clone()).or_insert(built).clone())
    }

    /// Where there is no database, each process has circuits of its own.
    fn circuits(&self) -> Option<Arc<dyn CircuitStore>> {
        Some(Arc::new(Circuits {
            store: self.sqlite().ok()?,
            journal: Arc::clone(&self.journal),
        }))
    }

    /// Reads files and environment again, for credentials that were changed meanwhile.
    fn reload(&self, name: &str) -> Option<Reload> {
        let (request, name) = (self.load_request().ok()?, name.to_owned());
        Some(Arc::new(move || {
            let loaded = config::load(&request).ok()?;
            Some(loaded.config.provider(&name)?.kind.clone())
        }))
    }

    /// All enabled providers, in the order of the file.
    ///
    /// # Errors
    /// Where the configuration of one cannot be used.
    pub fn providers(&self) -> Result<Vec<Provider>, Failure> {
        let config = self.config()?;
        let enabled = config.providers.iter().filter(|provider| provider.enabled);
        enabled.map(|provider| self.built(config, provider)).collect()
    }

    /// What storage.yml says of the provider, enabled or not.
    ///
    /// # Errors
    /// Where none has the name.
    pub fn provider_config(&self, name: &str) -> Result<&ProviderConfig, Failure> {
        let config = self.config()?;
        config.provider(name).ok_or_else(|| {
            let names = config.providers.iter().map(|provider| provider.name.as_str());
            Failure::unknown("provider", name, names)
        })
    }

    /// Which records are whose, disabled providers included; builds no client.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration.
    pub fn roots(&self) -> Result<Vec<ProviderRoots>, Failure> {
        let roots = |provider: &ProviderConfig| {
            Some(ProviderRoots {
                provider: provider.name.clone(),
                roots: providers::mapping_of(provider)?.roots().to_vec(),
            })
        };
        Ok(self.config()?.providers.iter().filter_map(roots).collect())
    }

    /// Counts that new files began to go to this provider instead of another.
    pub fn count_switch(&self, to: &str) {
        let key = Key {
            operation: "failover".to_owned(),
            provider: to.to_owned(),
            folder: String::new(),
        };
        let sample = Sample {
            failed: false,
            bytes: 0,
            took: Duration::ZERO,
        };
        self.metrics.record(key, sample);
    }

    /// Keeps what this run has counted, where a command that writes has made the table for it. That never fails the run, and
    /// never holds up one that only asked.
    pub fn keep_metrics(&self, command: &str, failed: bool, took: Duration) {
        let key = Key {
            operation: command.to_owned(),
            provider: String::new(),
            folder: String::new(),
        };
        let sample = Sample {
            failed,
            bytes: 0,
            took,
        };
        self.metrics.record(key, sample);
        let Some(store) = self.counted_in() else {
            return;
        };
        let patience = match self.journal.get() {
            Some(_) => Patience::Done,
            None => Patience::Asked,
        };
        match store.add_metrics(&self.metrics.take(), patience) {
            Ok(kept) => tracing::debug!("metrics are {}", if kept { "kept" } else { "not kept" }),
            Err(error) => tracing::debug!("metrics are not kept: {error}"),
        }
    }

    /// The database, also of a command that had no use for it, or found storage.yml to be wrong.
    fn counted_in(&self) -> Option<SqliteStore> {
        if let Some(store) = self.metadata.get() {
            return Some(store.clone());
        }
        match config::locate(&self.load_request().ok()?).ok()?.database {
            DatabaseUrl::Sqlite(path) => SqliteStore::to_count(&path),
            DatabaseUrl::Postgres(_) => None,
        }
    }

    /// Shows how far an operation has come, in the way that was asked for.
    #[must_use]
    pub fn progress(&self) -> Reporter {
        let mode = match self.global.progress {
            _ if self.global.no_progress || self.global.silent => ProgressMode::None,
            Some(ProgressFormat::Json) => ProgressMode::Json,
            None if std::io::stderr().is_terminal() => ProgressMode::Bars,
            None => ProgressMode::Lines,
        };
        Reporter::new(mode, self.bars.clone())
    }

    /// Runs a command that mostly waits for the database, on this thread.
    ///
    /// # Errors
    /// The command's own; and where it was interrupted, that.
    pub fn block_on<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        drive(Builder::new_current_thread(), work)
    }

    /// Runs a command that talks to providers, on all processors.
    ///
    /// # Errors
    /// The command's own; and where it was interrupted, that.
    pub fn block_on_all<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        drive(Builder::new_multi_thread(), work)
    }

    /// Runs a command that changes something, on all processors. The first Ctrl-C or SIGTERM only asks it to stop: it
    /// finishes or rolls back what is in flight and answers. The second drops it, and the next run recovers.
    ///
    /// # Errors
    /// The command's own; and where it was dropped, that it was interrupted.
    pub fn block_on_changes<T, W>(&self, work: impl FnOnce(Interrupt) -> W) -> Result<T, Failure>
    where
        W: Future<Output = Result<T, Failure>>,
    {
        let interrupt = Interrupt::default();
        let work = work(interrupt.clone());
        run_until(Builder::new_multi_thread(), work, async move {
            stop_signal().await;
            interrupt.request();
            tracing::warn!("interrupted: what is in flight is brought to an end; once more stops at once");
            stop_signal().await;
        })
    }
}

/// How long threads whose work nobody waits for any more may take to notice.
const LEAVE: Duration = Duration::from_millis(100);

/// Ctrl-C or SIGTERM drops the work, which ends what it had under way.
fn drive<T>(builder: Builder, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    run_until(builder, work, async { stop_signal().await })
}

/// Ctrl-C, or what service managers send: heard from this call on, not from when it is waited for.
pub fn stop_signal() -> impl Future<Output = ()> {
    let listen = |kind| tokio::signal::unix::signal(kind).ok();
    let interrupted = listen(SignalKind::interrupt());
    let terminated = listen(SignalKind::terminate());
    async {
        tokio::select! {
            () = heard(interrupted) => {}
            () = heard(terminated) => {}
        }
    }
}

/// Never, where no signal can be listened to: the system's own way of ending the process stays.
async fn heard(signal: Option<Signal>) {
    match signal {
        Some(mut signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

fn run_until<T>(
    mut builder: Builder,
    work: impl Future<Output = Result<T, Failure>>,
    stop: impl Future<Output = ()>,
) -> Result<T, Failure> {
    let no_runtime = |error| {
        Failure::new(
            Exit::Failed,
            Code::Error,
            format!("no threads could be started: {error}"),
        )
    };
    let runtime: Runtime = builder.enable_all().build().map_err(no_runtime)?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = work => result,
            () = stop => Err(Failure::interrupted()),
        }
    });
    // What was dropped may be about to end: a thread that reads the database is in the way of what is to be kept there.
    runtime.shutdown_timeout(LEAVE);
    result
}
