//! `storage:health`: whether the providers can be worked with.

use std::io::{self, Write};
use std::time::Duration;

use chrono::SecondsFormat;
use clap::Args;
use serde_json::{Value, json};

use crate::Context;
use crate::engine::health::{Doctor, Health};
use crate::error::{Code, Exit, Failure};
use crate::output::{Align, Human, Outcome, Table, View};
use crate::providers::Provider;

/// Checks whether the providers answer: puts, reads and deletes a small object in each
///
/// A check is believed for global.health_check_interval, by all processes. Exits with 5 where a provider is unhealthy.
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
            Ok(concluded(found))
        }),
        Some(seconds) => {
            context.block_on_all(watch(context, &doctor, &providers, Duration::from_secs(seconds)))
        }
    }
}

fn concluded(found: Vec<Health>) -> Outcome {
    let sick: Vec<&Health> = found.iter().filter(|health| !health.checked.healthy).collect();
    let failure = match sick.as_slice() {
        [] => None,
        [one] => {
            let error = one.checked.error.as_ref();
            let (code, message) = error.map_or((Code::ProviderUnavailable, String::new()), |error| {
                (Code::named(&error.code), error.message.clone())
            });
            let failure = Failure::new(Exit::Unavailable, code, message).hint(code.remedy());
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
    };
    let view = HealthView { found };
    match failure {
        Some(failure) => Outcome::failed(view, failure.retryable()),
        None => Outcome::done(view),
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
}

impl View for HealthView {
    fn operation(&self) -> &'static str {
        "storage:health"
    }

    fn message(&self) -> String {
        let healthy = self.found.iter().filter(|health| health.checked.healthy).count();
        format!("{healthy} of {} providers healthy", self.found.len())
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        let providers: Vec<Value> = self.found.iter().map(item).collect();
        serde_json::to_writer(out, &json!({ "providers": providers }))
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        self.found.iter().try_for_each(|health| emit(item(health)))
    }

    fn summary(&self) -> Value {
        let healthy = self.found.iter().filter(|health| health.checked.healthy).count();
        json!({ "healthy": healthy, "total": self.found.len() })
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
        Ok(())
    }
}
