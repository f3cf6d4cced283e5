//! `storage:health`: whether the providers can be worked with, and the database read.

use std::io::{self, Write};
use std::time::Duration;

use chrono::SecondsFormat;
use clap::Args;
use serde_json::{Value, json};

use crate::Context;
use crate::engine::health::{Doctor, Health};
use crate::error::{Code, Exit, Failure};
use crate::metadata::journal::RunQuery;
use crate::output::{Align, Human, Outcome, Table, View};
use crate::providers::Provider;

/// Records that are read of the database.
const SAMPLE: u64 = 100;

/// What to do about a provider that does not answer, denies, or has no root.
const UNAVAILABLE: &str =
    "see whether it runs, and whether storage.yml has its place and its credentials right";

/// Checks whether the providers answer: puts, reads and deletes a small object in each
///
/// A check is believed for global.health_check_interval, by all processes. Exits with 5 where a provider is unhealthy.
/// Unless one provider is named, the metadata database is read, too: exits with 1 where that alone cannot be done.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Only this provider
    #[arg(value_name = "PROVIDER")]
    provider: Option<String>,
    /// Check now, whatever was found a while ago
    #[arg(long)]
    refresh: bool,
    /// Check again and again until interrupted, every so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "10",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
}

/// Checks.
///
/// # Errors
/// An unknown provider, or a configuration that cannot be used.
pub fn run(context: &Context, args: &HealthArgs) -> Result<Outcome, Failure> {
    // Checks can be made where the database may not be written to, and without one: they are not noted then.
    let doctor = context.doctor(context.journal().ok())?;
    let providers = match &args.provider {
        Some(name) => vec![context.provider(name)?],
        None => context.providers()?,
    };
    match args.watch {
        None => context.block_on_all(async {
            let found = doctor.examine_all(&providers, args.refresh).await;
            let database = match args.provider {
                Some(_) => None,
                None => Some(Database::look(context).await?),
            };
            Ok(concluded(HealthView { found, database }))
        }),
        Some(seconds) => {
            context.block_on_all(watch(context, &doctor, &providers, Duration::from_secs(seconds)))
        }
    }
}

/// The metadata database, as far as a look tells: whether it can be opened, and some of its records and runs be read.
struct Database {
    location: String,
    error: Option<Failure>,
}

impl Database {
    async fn look(context: &Context) -> Result<Self, Failure> {
        Ok(Self {
            location: context.loaded()?.database.to_string(),
            error: read_some(context).await.err(),
        })
    }

    fn item(&self) -> Value {
        let error = |failure: &Failure| json!({ "code": failure.code, "message": failure.message });
        json!({
            "location": self.location,
            "healthy": self.error.is_none(),
            "error": self.error.as_ref().map(error),
        })
    }
}

async fn read_some(context: &Context) -> Result<(), Failure> {
    let store = context.history()?;
    store.sample_paths("", SAMPLE).await?;
    store.runs(&RunQuery::newest(1)).await?;
    Ok(())
}

/// A provider that is unhealthy goes before a database that is.
fn concluded(view: HealthView) -> Outcome {
    let database = view.database.as_ref();
    let unreadable = database.and_then(|database| database.error.clone());
    let failure = sick(&view.found).map(Failure::retryable).or_else(|| {
        // Providers have been worked with, which an exit code of 2 would deny.
        unreadable.map(|failure| Failure {
            exit: Exit::Failed,
            ..failure
        })
    });
    match failure {
        Some(failure) => Outcome::failed(view, failure),
        None => Outcome::done(view),
    }
}

fn sick(found: &[Health]) -> Option<Failure> {
    let sick: Vec<&Health> = found.iter().filter(|health| !health.checked.healthy).collect();
    match sick.as_slice() {
        [] => None,
        [one] => {
            let error = one.checked.error.as_ref();
            let (code, message) = error.map_or((Code::ProviderUnavailable, String::new()), |error| {
                (Code::named(&error.code), error.message.clone())
            });
            let remedy = match code {
                // That of all other commands is to run this one.
                Code::ProviderUnavailable => UNAVAILABLE,
                code => code.remedy(),
            };
            let failure = Failure::new(Exit::Unavailable, code, message).hint(remedy);
            Some(failure.detail("provider", one.provider.as_str()))
        }
        many => {
            let names: Vec<&str> = many.iter().map(|health| health.provider.as_str()).collect();
            let message = format!("{} providers are unhealthy: {}", names.len(), names.join(", "));
            Some(Failure::new(
                Exit::Unavailable,
                Code::ProviderUnavailable,
                message,
            ))
        }
    }
}

/// A line for each provider at each check, until a signal ends it.
async fn watch(
    context: &Context,
    doctor: &Doctor,
    providers: &[Provider],
    every: Duration,
) -> Result<Outcome, Failure> {
    loop {
        for health in doctor.examine_all(providers, true).await {
            let line = if context.printer().is_for_programs() {
                item(&health).to_string()
            } else {
                told(&health)
            };
            if context.printer().line(&line).is_err() {
                return Ok(Outcome::silent("storage:health"));
            }
        }
        tokio::time::sleep(every).await;
    }
}

fn told(health: &Health) -> String {
    let checked = &health.checked;
    let state = if checked.healthy { "healthy" } else { "unhealthy" };
    let why = checked.error.as_ref().map(|error| format!("  {}", error.message));
    format!(
        "{}  {:<12} {state:<9} {:>6} ms  circuit {}{}",
        checked.last_check.to_rfc3339_opts(SecondsFormat::Secs, true),
        health.provider,
        checked.latency,
        health.circuit,
        why.unwrap_or_default()
    )
}

fn item(health: &Health) -> Value {
    let checked = &health.checked;
    json!({
        "provider": health.provider,
        "type": health.type_name,
        "healthy": checked.healthy,
        "latency": checked.latency,
        "lastCheck": checked.last_check.to_rfc3339_opts(SecondsFormat::Millis, true),
        "successRate": checked.success_rate(),
        "circuit": health.circuit,
        "cached": health.cached,
        "error": checked.error,
    })
}

struct HealthView {
    found: Vec<Health>,
    /// `None` where one provider was asked about.
    database: Option<Database>,
}

impl HealthView {
    /// What cannot be read, and why.
    fn unreadable(&self) -> Option<(&str, &Failure)> {
        let database = self.database.as_ref()?;
        Some((&database.location, database.error.as_ref()?))
    }
}

impl View for HealthView {
    fn operation(&self) -> &'static str {
        "storage:health"
    }

    fn message(&self) -> String {
        let healthy = self.found.iter().filter(|health| health.checked.healthy).count();
        let providers = format!("{healthy} of {} providers healthy", self.found.len());
        match self.unreadable() {
            Some((location, _)) => format!("{providers}; the database {location} is not"),
            None => providers,
        }
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        let providers: Vec<Value> = self.found.iter().map(item).collect();
        let mut data = json!({ "providers": providers });
        if let Some(database) = &self.database {
            data["database"] = database.item();
        }
        serde_json::to_writer(out, &data)
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        self.found.iter().try_for_each(|health| emit(item(health)))
    }

    fn summary(&self) -> Value {
        let healthy = self.found.iter().filter(|health| health.checked.healthy).count();
        let mut summary = json!({ "healthy": healthy, "total": self.found.len() });
        if let Some(database) = &self.database {
            summary["database"] = database.item();
        }
        summary
    }

    fn columns(&self) -> &'static [&'static str] {
        &[
            "provider",
            "type",
            "healthy",
            "latency",
            "lastCheck",
            "successRate",
            "circuit",
            "cached",
            "error.code",
            "error.message",
        ]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        let mut table = Table::new(&[
            ("PROVIDER", Align::Left),
            ("TYPE", Align::Left),
            ("STATE", Align::Left),
            ("LATENCY", Align::Right),
            ("SUCCESS", Align::Right),
            ("CIRCUIT", Align::Left),
            ("CHECKED", Align::Left),
        ]);
        for health in &self.found {
            let checked = &health.checked;
            table.row([
                health.provider.as_str(),
                health.type_name,
                if checked.healthy { "healthy" } else { "unhealthy" },
                &format!("{} ms", checked.latency),
                &format!("{:.0} %", checked.success_rate() * 100.0),
                health.circuit,
                &checked.last_check.format("%Y-%m-%d %H:%M:%S").to_string(),
            ]);
        }
        out.table(&table)?;
        for health in self.found.iter().filter(|health| health.cached) {
            out.line(&format!(
                "{}: found earlier; --refresh checks now",
                Human::name(&health.provider)
            ))?;
        }
        if let Some((location, failure)) = self.unreadable() {
            out.line(&format!(
                "the database {} is unhealthy: {}",
                Human::name(location),
                Human::name(&failure.message)
            ))?;
        }
        Ok(())
    }
}
