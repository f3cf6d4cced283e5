//! The policies against a model of them that is too simple to be wrong, and against what must hold on any day.

use proptest::prelude::*;

use super::*;

/// The rules again, in whole days and lists, without any of the code above but `covers` and `holds`.
fn model(
    policies: &[Policy],
    subject: &Subject<'_>,
    created: Option<i64>,
    served: &[Served],
    now: i64,
) -> Verdict {
    let in_days = |age: Age| match age {
        Age::Span(span) => i64::try_from(span.as_secs()).unwrap() / DAY,
        Age::Months(_) => unreachable!(),
    };
    let covering: Vec<usize> = (0..policies.len())
        .filter(|at| policies[*at].covers(subject))
        .collect();
    let mut holds: Vec<(i64, usize)> = Vec::new();
    let mut acts: Vec<(usize, i64, Option<i64>)> = Vec::new();
    for at in covering {
        match &policies[at].rule {
            Rule::Retain { min_age } => {
                let until = created
                    .zip(*min_age)
                    .map_or(i64::MAX, |(born, age)| born + in_days(age));
                if until > now {
                    holds.push((until, at));
                }
            }
            Rule::Warn { max_age } => acts.push((at, in_days(*max_age), None)),
            Rule::Delete { max_age, warn_before }
            | Rule::Archive {
                max_age, warn_before, ..
            } => {
                acts.push((at, in_days(*max_age), warn_before.map(in_days)));
            }
        }
    }
    // The longest; the first of equals.
    if let Some((until, at)) = holds
        .iter()
        .copied()
        .max_by_key(|(until, at)| (*until, std::cmp::Reverse(*at)))
    {
        return Verdict::Retain {
            policy: at,
            until: (until != i64::MAX).then(|| day(until)),
        };
    }
    let Some(born) = created.filter(|born| *born <= now) else {
        return acts
            .first()
            .map_or(Verdict::Nothing, |(at, ..)| Verdict::Undated { policy: *at });
    };
    acts.retain(|(_, age, before)| born + age - before.unwrap_or(0) <= now);
    let is_archive = |at: usize| matches!(policies[at].rule, Rule::Archive { .. });
    let oldest = acts
        .iter()
        .filter(|(at, ..)| is_archive(*at))
        .map(|(at, age, _)| (*age, std::cmp::Reverse(*at)))
        .max();
    acts.retain(|(at, ..)| match &policies[*at].rule {
        Rule::Archive { target, .. } => {
            oldest.is_some_and(|(_, last)| last.0 == *at) && !target.holds(subject)
        }
        _ => true,
    });
    let (mut unsent, mut waits) = (Vec::new(), Vec::new());
    for (at, age, before) in &acts {
        let due = born + age;
        if before.is_none() && !matches!(policies[*at].rule, Rule::Warn { .. }) {
            continue;
        }
        let kept = served
            .iter()
            .find(|one| one.policy == *at && one.same && one.goes >= due && one.sent <= now);
        match (kept, before) {
            (None, None) => unsent.push((*at, day(due))),
            (None, Some(before)) => unsent.push((*at, day(due.max(now + before)))),
            (Some(one), Some(before)) => {
                let until = due.max(one.goes).max(one.sent + before);
                if until > now {
                    waits.push((until, std::cmp::Reverse(*at)));
                }
            }
            (Some(_), None) => {}
        }
    }
    if !unsent.is_empty() {
        return Verdict::Warn(unsent);
    }
    if let Some((until, at)) = waits.into_iter().max() {
        return Verdict::Wait {
            policy: at.0,
            until: day(until),
        };
    }
    let due: Vec<usize> = acts
        .iter()
        .filter(|(_, age, _)| born + age <= now)
        .map(|(at, ..)| *at)
        .collect();
    if let Some(at) = due.iter().find(|at| is_archive(**at)) {
        return Verdict::Archive { policy: *at };
    }
    let deletes = |at: &&usize| matches!(policies[**at].rule, Rule::Delete { .. });
    due.iter()
        .find(deletes)
        .map_or(Verdict::Nothing, |at| Verdict::Delete { policy: *at })
}

/// A warning as the model knows it.
#[derive(Debug, Clone)]
struct Served {
    policy: usize,
    /// Of what the policy does today.
    same: bool,
    sent: i64,
    goes: i64,
}

fn any_policy() -> impl Strategy<Value = (u8, i64, Option<i64>, bool, bool)> {
    (
        0u8..5,
        0i64..60,
        proptest::option::of(0i64..20),
        any::<bool>(),
        any::<bool>(),
    )
}

fn build((kind, age, second, everywhere, cold): (u8, i64, Option<i64>, bool, bool), at: usize) -> Policy {
    let name = format!("p{at}");
    let mut built = match kind {
        0 => retain(&name, second.map(|more| age + more)),
        1 => policy(&name, &["*"], Rule::Warn { max_age: days(age) }),
        2 | 3 => delete(&name, age, second),
        _ => archive(&name, age, second, if cold { "cold" } else { "ice" }),
    };
    if !everywhere {
        built.folders = Some(BTreeSet::from(["plans".to_owned()]));
    }
    built
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn every_verdict_is_that_of_the_simple_model(
        policies in proptest::collection::vec(any_policy(), 0..6),
        created in proptest::option::weighted(0.9, 0i64..100),
        now in 0i64..160,
        folder in prop_oneof![Just("plans"), Just("permits")],
        provider in prop_oneof![Just("local"), Just("cold"), Just("ice")],
        served in proptest::collection::vec((0usize..6, any::<bool>(), 0i64..160, 0i64..40), 0..5),
    ) {
        let policies: Vec<Policy> = policies.into_iter().enumerate().map(|(at, raw)| build(raw, at)).collect();
        let subject = Subject { folder, provider: Some(provider), ..file(created) };
        // One per policy, as the table has it.
        let mut told: Vec<Served> = Vec::new();
        for (policy, same, sent, more) in served {
            if policy < policies.len() && told.iter().all(|one| one.policy != policy) {
                told.push(Served { policy, same, sent, goes: sent + more });
            }
        }
        let warnings: Vec<ServedWarning> = told
            .iter()
            .map(|one| ServedWarning {
                announces: if one.same { policies[one.policy].announces() } else { "other".to_owned() },
                ..sent(&policies[one.policy], one.sent, one.goes)
            })
            .collect();
        let expected = model(&policies, &subject, created, &told, now);
        prop_assert_eq!(verdict(&policies, &subject, &warnings, now), expected);
    }

    /// Whatever is configured, and however it is changed on the way: day after day, what is done is done to files of
    /// that age that nobody holds, and that were warned of early enough.
    #[test]
    fn no_file_goes_unwarned_too_early_or_while_it_is_held(
        first in proptest::collection::vec(any_policy(), 1..5),
        second in proptest::collection::vec(any_policy(), 1..5),
        changed in 0i64..120,
        created in 0i64..30,
    ) {
        let build = |raw: Vec<_>| raw.into_iter().enumerate().map(|(at, raw)| build(raw, at)).collect::<Vec<_>>();
        let configured = [build(first), build(second)];
        let mut served: Vec<ServedWarning> = Vec::new();
        let mut provider = "local".to_owned();
        for now in 0..160 {
            let policies = &configured[usize::from(now >= changed)];
            let subject = Subject { provider: Some(&provider), folder: "plans", ..file(Some(created)) };
            let verdict = verdict(policies, &subject, &served, now);
            match verdict {
                Verdict::Warn(unsent) => for (at, told) in unsent {
                    prop_assert!(served.iter().all(|one| {
                        one.policy != policies[at].name
                            || one.announces != policies[at].announces()
                            || one.goes_at < told
                    }), "told the same twice");
                    served.retain(|one| one.policy != policies[at].name);
                    let goes_at = told;
                    served.push(ServedWarning { goes_at, ..sent(&policies[at], now, now) });
                },
                Verdict::Archive { policy } | Verdict::Delete { policy } => {
                    let held = policies.iter().any(|hold| match hold.rule {
                        Rule::Retain { min_age } => {
                            hold.covers(&subject)
                                && min_age.is_none_or(|age| age.after(day(created)).unwrap() > day(now))
                        }
                        _ => false,
                    });
                    prop_assert!(!held);
                    let by = &policies[policy];
                    prop_assert!(by.due(day(created)).unwrap() <= day(now));
                    if let Some(before) = by.warn_before() {
                        let told = served.iter().find(|one| one.policy == by.name && one.announces == by.announces());
                        let told = told.unwrap();
                        prop_assert!(before.after(told.sent_at).unwrap() <= day(now));
                        prop_assert!(told.goes_at <= day(now));
                    }
                    match &by.rule {
                        Rule::Archive { target, .. } => {
                            let to = target.provider.clone().unwrap();
                            prop_assert_ne!(&to, &provider);
                            provider = to;
                        }
                        _ => break,
                    }
                }
                _ => {}
            }
        }
    }
}
