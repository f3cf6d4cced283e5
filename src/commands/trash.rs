//! `storage:trash`: what was taken away and can still come back.

use std::collections::HashMap;
use std::io::{self, Write};

use chrono::{DateTime, Utc};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use super::ask;
use super::changes::{Items, Words, conclude, counts, planned, sites, status};
use super::named::no_room;
use super::ownership::{self, OwnershipArgs};
use super::undo::{plan, put_back, survey};
use crate::Context;
use crate::config::parse_duration;
use crate::engine::Clock;
use crate::engine::changes::{Changes, Copies, Sites, failed_by};
use crate::engine::journal::recover;
use crate::engine::undo::{self, Pages, Steps, shown, size_of};
use crate::error::Failure;
use crate::metadata::journal::{Action, JournalReader, Step, StepQuery, StepState};
use crate::output::{Align, Human, Outcome, Table, View, format_count, format_size};
use crate::providers::sidecar_object;
use crate::spill::Spool;

/// Shows what was deleted, brings it back, or deletes it for good
#[derive(Debug, Args)]
pub struct TrashArgs {
    /// What to do
    #[arg(value_name = "VERB", value_enum, default_value = "list")]
    verb: TrashVerb,
    /// Ids of the files to restore
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Empty: only what was deleted longer ago than this; 0 is everything [default: cleanup.trash_retention]
    #[arg(long, value_name = "DURATION")]
    older_than: Option<String>,
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    ownership: OwnershipArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TrashVerb {
    /// What is in the trash
    List,
    /// Brings files back
    Restore,
    /// Deletes for good what has been in the trash for long enough
    Empty,
}

/// Steps read at once.
const AT_ONCE: usize = 500;

const RESTORE: Words = Words {
    operation: "storage:trash restore",
    done: "put back",
    planned: "would be put back",
};

const EMPTY: Words = Words {
    operation: "storage:trash empty",
    done: "deleted for good",
    planned: "would be deleted for good",
};

/// # Errors
/// Where nobody agreed, or configuration or database cannot be used.
pub fn run(context: &Context, args: &TrashArgs) -> Result<Outcome, Failure> {
    let restoring = args.verb == TrashVerb::Restore;
    if restoring == args.ids.is_empty() {
        return Err(Failure::usage(if restoring {
            "name the files to restore by id; `civic storage:trash list` shows them"
        } else {
            "ids are for `storage:trash restore`"
        }));
    }
    if args.older_than.is_some() && args.verb != TrashVerb::Empty {
        return Err(Failure::usage("--older-than is for `storage:trash empty`"));
    }
    match args.verb {
        TrashVerb::List => context.block_on(async {
            let view = TrashView::read(&*context.history()?).await?;
            Ok(Outcome::done(view))
        }),
        TrashVerb::Restore => restore(context, args),
        TrashVerb::Empty => empty(context, args),
    }
}

/// Steps whose bytes are in the trash.
fn trashed(until: Option<DateTime<Utc>>) -> Steps {
    let query = StepQuery {
        states: vec![StepState::Settled],
        actions: vec![Action::Trash, Action::Migrate],
        ..StepQuery::default()
    };
    Steps::Found(query, until)
}

fn restore(context: &Context, args: &TrashArgs) -> Result<Outcome, Failure> {
    const QUESTION: &str = "Put these back?";
    let (ids, dry_run) = (&args.ids, args.dry_run);
    if !dry_run {
        ask::possible(context, QUESTION)?;
    }
    context.block_on_changes(|interrupt| async move {
        if !dry_run {
            recover(&context.run_journal()?, &sites(context)?.usable()).await?;
        }
        let history = context.history()?;
        let (mut steps, unknown) = latest(&*history, ids).await?;
        let copies = with_copies(&*history, &steps).await?;
        steps.extend(copies);
        let steps = Steps::Named(steps);
        if let Some(id) = unknown.first() {
            let message = format!("{id} is not in the trash; nothing was done");
            return Err(Failure::not_found(message).detail("ids", unknown.clone()));
        }
        if dry_run {
            return plan(context, RESTORE, steps).await;
        }
        put_back(
            context,
            (RESTORE, QUESTION),
            steps,
            (
                json!({ "ids": ids, "overrides": args.ownership.asked() }),
                &args.ownership,
                &interrupt,
            ),
        )
        .await
    })
}

/// The last deletion of each id, and the ids that have none. A sidecar that went by itself is no file.
async fn latest(history: &dyn JournalReader, ids: &[String]) -> Result<(Vec<Step>, Vec<String>), Failure> {
    let mut last: HashMap<String, Option<Step>> =
        ids.iter().map(|id| (id.to_ascii_lowercase(), None)).collect();
    let all = trashed(None);
    let mut pages = Pages::forward(history, &all);
    loop {
        let page = pages.next(AT_ONCE).await?;
        if page.is_empty() {
            break;
        }
        for step in page.into_iter().filter(|step| !is_sidecar(step)) {
            let id = step.file_id.as_ref().map(|id| id.to_ascii_lowercase());
            let Some(known) = id.and_then(|id| last.get_mut(&id)) else {
                continue;
            };
            if known
                .as_ref()
                .is_none_or(|known| known.changed_at <= step.changed_at)
            {
                *known = Some(step);
            }
        }
    }
    let (mut steps, mut unknown) = (Vec::new(), Vec::new());
    for id in ids {
        match last.remove(&id.to_ascii_lowercase()) {
            Some(Some(step)) => steps.push(step),
            Some(None) => unknown.push(id.clone()),
            // Named twice.
            None => {}
        }
    }
    Ok((steps, unknown))
}

/// The steps that took the copies of these files to the trash, in the same runs.
async fn with_copies(history: &dyn JournalReader, steps: &[Step]) -> Result<Vec<Step>, Failure> {
    let mut found = Vec::new();
    for step in steps {
        let Some(id) = &step.file_id else { continue };
        for (_, copy) in history.copies(std::slice::from_ref(id)).await? {
            let query = StepQuery {
                run_id: Some(step.run_id.clone()),
                provider: Some(copy.provider),
                states: vec![StepState::Settled],
                actions: vec![Action::Trash],
                ..StepQuery::default()
            };
            let of_run = history.steps(&query).await?;
            found.extend(
                of_run.into_iter().filter(|other| {
                    other.file_id.is_none() && other.key.as_deref() == Some(copy.key.as_str())
                }),
            );
        }
    }
    Ok(found)
}

fn is_sidecar(step: &Step) -> bool {
    let key = step.key.as_deref().unwrap_or_default();
    step.before.is_none() && sidecar_object(key.as_bytes()).is_some()
}

fn empty(context: &Context, args: &TrashArgs) -> Result<Outcome, Failure> {
    const QUESTION: &str = "Delete these for good? Nothing will bring them back.";
    let dry_run = args.dry_run;
    if !dry_run {
        ask::possible(context, QUESTION)?;
    }
    let age = match args.older_than.as_deref() {
        Some(text) => {
            parse_duration(text).map_err(|why| Failure::usage(format!("--older-than {text}: {why}")))?
        }
        None => context.config()?.cleanup.trash_retention,
    };
    let age = chrono::TimeDelta::from_std(age).unwrap_or(chrono::TimeDelta::MAX);
    let before = context
        .clock()
        .now()
        .checked_sub_signed(age)
        .unwrap_or(DateTime::<Utc>::MIN_UTC);
    let progress = context.progress();
    context.block_on_changes(|interrupt| async move {
        let mut sites = sites(context)?;
        if !dry_run {
            recover(&context.run_journal()?, &sites.usable()).await?;
        }
        let (history, steps) = (context.history()?, trashed(Some(before)));
        let survey = survey(&*history, &steps).await?;
        let touched = survey.touched.iter().map(String::as_str);
        if dry_run {
            ownership::warn(context, &mut sites, touched).await?;
            let pages = Pages::forward(&*history, &steps);
            return Ok(planned(EMPTY, of_plan(&sites, pages).await?));
        }
        if survey.total == 0 {
            return Ok(conclude(EMPTY, None, Changes::default()));
        }
        let journal = context.run_journal()?;
        let custody = ownership::check(&journal, &mut sites, touched, &args.ownership).await?;
        ask::confirm(context, &survey.preview.to_string(), QUESTION).await?;
        let taken_over = ownership::claim(custody, &mut sites).await;
        let overrides = args.ownership.asked();
        let asked = json!({ "before": before, "files": survey.total, "overrides": overrides });
        let run = journal.begin(EMPTY.operation, asked).await?;
        let pages = (Pages::forward(&*history, &steps), survey.total);
        let mut changes = undo::empty(&run, &sites, pages, (&progress, &interrupt)).await?;
        changes.taken_over = taken_over;
        run.finish(status(&changes), counts(&changes)).await?;
        Ok(conclude(EMPTY, Some(run.id()), changes))
    })
}

async fn of_plan(sites: &Sites, mut pages: Pages<'_>) -> Result<Changes, Failure> {
    let mut changes = Changes::default();
    loop {
        let page = pages.next(AT_ONCE).await?;
        if page.is_empty() {
            return Ok(changes);
        }
        let copies = pages.copied_files(&page).await?;
        for (step, copy_of) in page.iter().zip(copies) {
            match sites.named(&step.provider, &undo::name_of(step)) {
                Ok(provider) => match undo::trashed_at(&provider, step) {
                    Ok(_) if copy_of.is_some() => changes.succeed_with_copy(size_of(step)),
                    Ok(_) => changes.succeed(&shown(step), size_of(step)),
                    Err(error) => changes.fail(failed_by(&undo::name_of(step), &error)),
                },
                Err(error) => changes.fail(error),
            }
        }
    }
}

/// What is in the trash, out of core.
#[derive(Default)]
struct TrashView {
    items: Spool,
    bytes: u64,
    /// Of files on backup providers, which are no files of their own.
    copies: Copies,
}

impl TrashView {
    async fn read(history: &dyn JournalReader) -> Result<Self, Failure> {
        let (mut view, all) = (Self::default(), trashed(None));
        let mut pages = Pages::forward(history, &all);
        loop {
            let page = pages.next(AT_ONCE).await?;
            if page.is_empty() {
                return Ok(view);
            }
            let copies = pages.copied_files(&page).await?;
            for (step, copy_of) in page.iter().zip(copies) {
                if copy_of.is_some() {
                    view.copies.add(size_of(step));
                    continue;
                }
                view.bytes = view.bytes.saturating_add(size_of(step));
                let item = serde_json::to_vec(&shown(step)).unwrap_or_default();
                view.items.push(&item).map_err(no_room)?;
            }
        }
    }
}

impl View for TrashView {
    fn operation(&self) -> &'static str {
        "storage:trash"
    }

    fn message(&self) -> String {
        let files = if self.items.len() == 1 { "file" } else { "files" };
        let count = format_count(self.items.len());
        let size = format_size(self.bytes.saturating_add(self.copies.bytes));
        format!("{count} {files}{} in the trash, {size}", self.copies.told())
    }

    fn json(&self, out: &mut dyn Write) -> serde_json::Result<()> {
        #[derive(Serialize)]
        struct Data<'a> {
            total: u64,
            bytes: u64,
            copies: Copies,
            items: Items<'a>,
        }
        let data = Data {
            total: self.items.len(),
            bytes: self.bytes,
            copies: self.copies,
            items: Items(&self.items),
        };
        serde_json::to_writer(out, &data)
    }

    fn items(&self, emit: &mut dyn FnMut(Value) -> io::Result<()>) -> io::Result<()> {
        for item in &self.items {
            emit(serde_json::from_slice(&item?)?)?;
        }
        Ok(())
    }

    fn summary(&self) -> Value {
        json!({ "total": self.items.len(), "bytes": self.bytes, "copies": self.copies })
    }

    fn columns(&self) -> &'static [&'static str] {
        &[
            "id",
            "originalName",
            "folder",
            "size",
            "provider",
            "migratedTo",
            "key",
            "runId",
            "deletedAt",
        ]
    }

    fn table(&self, out: &mut Human<'_>) -> io::Result<()> {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let mut table = Table::new(&[
            ("ID", Align::Left),
            ("NAME", Align::Left),
            ("FOLDER", Align::Left),
            ("SIZE", Align::Right),
            ("DELETED", Align::Left),
            ("RUN", Align::Left),
        ]);
        for item in &self.items {
            let item: Value = serde_json::from_slice(&item?)?;
            let deleted: String = text(&item["deletedAt"]).chars().take(16).collect();
            table.row(vec![
                text(&item["id"]),
                text(&item["originalName"]),
                text(&item["folder"]),
                format_size(item["size"].as_u64().unwrap_or(0)),
                deleted.replace('T', " "),
                text(&item["runId"]),
            ]);
        }
        if !self.items.is_empty() {
            out.table(&table)?;
        }
        out.line(&format!("{}.", self.message()))
    }
}
