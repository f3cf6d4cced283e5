#[path = "policy_model.rs"]
mod model;

use std::time::Duration;

use super::*;

const DAY: i64 = 86_400;

fn day(n: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + n * DAY, 0).unwrap()
}

fn days(n: i64) -> Age {
    Age::Span(Duration::from_secs((n * DAY).unsigned_abs()))
}

fn policy(name: &str, folders: &[&str], rule: Rule) -> Policy {
    let every = folders == ["*"];
    Policy {
        name: name.to_owned(),
        folders: (!every).then(|| folders.iter().map(|folder| (*folder).to_owned()).collect()),
        matching: None,
        except: None,
        rule,
    }
}

fn delete(name: &str, max_age: i64, warn_before: Option<i64>) -> Policy {
    let rule = Rule::Delete {
        max_age: days(max_age),
        warn_before: warn_before.map(days),
    };
    policy(name, &["*"], rule)
}

fn archive(name: &str, max_age: i64, warn_before: Option<i64>, to: &str) -> Policy {
    let rule = Rule::Archive {
        max_age: days(max_age),
        warn_before: warn_before.map(days),
        target: Target {
            provider: Some(to.to_owned()),
            folder: None,
        },
    };
    policy(name, &["*"], rule)
}

fn retain(name: &str, min_age: Option<i64>) -> Policy {
    let rule = Rule::Retain {
        min_age: min_age.map(days),
    };
    policy(name, &["*"], rule)
}

fn file(created: Option<i64>) -> Subject<'static> {
    Subject {
        original_name: "plan.PDF",
        folder: "permits",
        size: 10,
        created: created.map(day),
        provider: Some("local"),
    }
}

fn one<T>(value: &T) -> &[T] {
    std::slice::from_ref(value)
}

fn sent(policy: &Policy, sent_at: i64, goes_at: i64) -> ServedWarning {
    ServedWarning {
        file_id: "a".to_owned(),
        policy: policy.name.clone(),
        announces: policy.announces(),
        sent_at: day(sent_at),
        goes_at: day(goes_at),
    }
}

fn verdict(policies: &[Policy], subject: &Subject<'_>, served: &[ServedWarning], now: i64) -> Verdict {
    decide(policies, subject, served, day(now)).verdict
}

#[test]
fn a_file_goes_on_the_day_that_its_age_is_reached_and_not_before() {
    let policies = [delete("old", 365, None)];
    assert_eq!(verdict(&policies, &file(Some(0)), &[], 364), Verdict::Nothing);
    assert_eq!(
        verdict(&policies, &file(Some(0)), &[], 365),
        Verdict::Delete { policy: 0 }
    );
}

#[test]
fn a_policy_is_about_its_folders_and_what_match_and_except_let_through() {
    let mut about = policy("p", &["permits", "plans"], Rule::Warn { max_age: days(1) });
    let subject = file(Some(0));
    assert!(about.covers(&subject));
    assert!(!about.covers(&Subject {
        folder: "permit",
        ..subject
    }));
    about.matching = Some(Filter {
        types: vec!["pdf".to_owned()],
        name: Some("plan*".to_owned()),
        min_size: 10,
    });
    assert!(about.covers(&subject), "extensions are read in any case");
    assert!(!about.covers(&Subject { size: 9, ..subject }));
    assert!(
        !about.covers(&Subject { size: -10, ..subject }),
        "a size that is none is no size"
    );
    assert!(!about.covers(&Subject {
        original_name: "plan.pdf.txt",
        ..subject
    }));
    assert!(!about.covers(&Subject {
        original_name: "a plan.pdf",
        ..subject
    }));
    about.except = Some(Filter {
        name: Some("*.PDF".to_owned()),
        ..Filter::default()
    });
    assert!(!about.covers(&subject), "the exception wins");
    about.except = Some(Filter {
        types: vec!["pdf".to_owned()],
        min_size: 11,
        ..Filter::default()
    });
    assert!(about.covers(&subject), "all of an exception has to hold");
}

#[test]
fn the_strongest_protection_wins() {
    let all = [
        delete("delete", 10, None),
        archive("archive", 10, None, "cold"),
        delete("warned", 10, Some(5)),
        retain("hold", Some(20)),
    ];
    let subject = file(Some(0));
    assert_eq!(
        verdict(&all, &subject, &[], 19),
        Verdict::Retain {
            policy: 3,
            until: Some(day(20))
        }
    );
    let unsent = Verdict::Warn(vec![(2, day(25))]);
    assert_eq!(verdict(&all, &subject, &[], 20), unsent, "once the hold is over");
    let warned = [sent(&all[2], 20, 25)];
    assert_eq!(
        verdict(&all, &subject, &warned, 24),
        Verdict::Wait {
            policy: 2,
            until: day(25)
        }
    );
    assert_eq!(
        verdict(&all, &subject, &warned, 25),
        Verdict::Archive { policy: 1 }
    );
    let cold = Subject {
        provider: Some("cold"),
        ..subject
    };
    assert_eq!(verdict(&all, &cold, &warned, 25), Verdict::Delete { policy: 0 });
}

#[test]
fn of_two_holds_the_longer_one_counts_and_one_without_an_age_is_for_good() {
    let subject = file(Some(0));
    let two = [
        retain("short", Some(5)),
        retain("long", Some(9)),
        delete("old", 1, None),
    ];
    assert_eq!(
        verdict(&two, &subject, &[], 3),
        Verdict::Retain {
            policy: 1,
            until: Some(day(9))
        }
    );
    assert_eq!(verdict(&two, &subject, &[], 9), Verdict::Delete { policy: 2 });
    let ever = [
        retain("short", Some(5)),
        retain("ever", None),
        delete("old", 1, None),
    ];
    assert_eq!(
        verdict(&ever, &subject, &[], 1_000_000),
        Verdict::Retain {
            policy: 1,
            until: None
        }
    );
}

#[test]
fn what_has_no_date_or_one_of_the_future_is_left_alone_by_all_and_held_by_a_hold() {
    let policies = [delete("old", 0, None), delete("warned", 0, Some(1))];
    let future = file(Some(100));
    for subject in [file(None), future] {
        assert_eq!(
            verdict(&policies, &subject, &[], 99),
            Verdict::Undated { policy: 0 }
        );
        let held = [policies[0].clone(), retain("hold", Some(1))];
        assert!(matches!(
            verdict(&held, &subject, &[], 99),
            Verdict::Retain { policy: 1, .. }
        ));
        let elsewhere = [policy("other", &["plans"], Rule::Warn { max_age: days(0) })];
        assert_eq!(verdict(&elsewhere, &subject, &[], 99), Verdict::Nothing);
    }
}

#[test]
fn what_is_archived_is_not_archived_again_and_goes_from_archive_to_archive_only_forward() {
    let tiers = [
        archive("cold", 10, None, "cold"),
        archive("ice", 100, None, "ice"),
    ];
    let at = |provider| Subject {
        provider: Some(provider),
        ..file(Some(0))
    };
    assert_eq!(
        verdict(&tiers, &at("local"), &[], 10),
        Verdict::Archive { policy: 0 }
    );
    assert_eq!(verdict(&tiers, &at("cold"), &[], 99), Verdict::Nothing);
    assert_eq!(
        verdict(&tiers, &at("cold"), &[], 100),
        Verdict::Archive { policy: 1 }
    );
    assert_eq!(verdict(&tiers, &at("ice"), &[], 100), Verdict::Nothing);
    assert_eq!(
        verdict(&tiers, &at("local"), &[], 100),
        Verdict::Archive { policy: 1 }
    );
    assert!(decide(&tiers, &at("ice"), &[], day(500)).matched.is_empty());
}

#[test]
fn a_warning_that_said_otherwise_is_sent_anew_and_a_promised_day_is_kept() {
    let subject = file(Some(0));
    let now = delete("p", 100, Some(14));
    // Warned on day 90 of day 104.
    let warned = sent(&now, 90, 104);
    assert_eq!(
        verdict(one(&now), &subject, one(&warned), 103),
        Verdict::Wait {
            policy: 0,
            until: day(104)
        }
    );
    assert_eq!(
        verdict(one(&now), &subject, one(&warned), 104),
        Verdict::Delete { policy: 0 }
    );
    // The age was lowered: the day that was told stands.
    let sooner = delete("p", 50, Some(14));
    assert_eq!(
        verdict(one(&sooner), &subject, one(&warned), 103),
        Verdict::Wait {
            policy: 0,
            until: day(104)
        }
    );
    // It was raised: nobody remembers a warning of a day that passed.
    let later = delete("p", 200, Some(14));
    assert_eq!(
        verdict(one(&later), &subject, one(&warned), 150),
        Verdict::Nothing
    );
    assert_eq!(
        verdict(one(&later), &subject, one(&warned), 186),
        Verdict::Warn(vec![(0, day(200))])
    );
    // The time between the two was raised: it is waited for.
    let longer = delete("p", 100, Some(30));
    assert_eq!(
        verdict(one(&longer), &subject, one(&warned), 119),
        Verdict::Wait {
            policy: 0,
            until: day(120)
        }
    );
    // It was to be archived, and is to be deleted now.
    let told = sent(&archive("p", 100, Some(14), "cold"), 90, 104);
    assert!(matches!(
        verdict(one(&now), &subject, one(&told), 300),
        Verdict::Warn(_)
    ));
    // Sent by a clock that was ahead: it proves nothing.
    let ahead = sent(&now, 500, 514);
    assert!(matches!(
        verdict(one(&now), &subject, one(&ahead), 300),
        Verdict::Warn(_)
    ));
}

#[test]
fn a_policy_that_only_warns_does_so_once() {
    let warns = policy("w", &["*"], Rule::Warn { max_age: days(10) });
    let subject = file(Some(0));
    assert_eq!(verdict(one(&warns), &subject, &[], 9), Verdict::Nothing);
    assert_eq!(
        verdict(one(&warns), &subject, &[], 12),
        Verdict::Warn(vec![(0, day(10))])
    );
    let served = sent(&warns, 12, 10);
    assert_eq!(verdict(one(&warns), &subject, one(&served), 13), Verdict::Nothing);
}
