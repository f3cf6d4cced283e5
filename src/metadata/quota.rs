//! What folders, and all of them together, may hold: the arithmetic, which knows no database. A file fits where, together
//! with what is used and what is reserved, it stays within each limit that it counts under.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

/// How many bytes there may be, and what is done about more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// By folder; those without a limit are not here.
    pub folders: BTreeMap<String, u64>,
    /// Of all folders together.
    pub all: Option<u64>,
    /// Whether what was deleted and can still come back counts.
    pub counts_trash: bool,
    /// Whether what does not fit is refused; else it is only told.
    pub enforced: bool,
}

impl Limits {
    /// What a file that comes into one of these folders counts under, and has a limit.
    #[must_use]
    pub fn on<'a>(&self, folders: impl IntoIterator<Item = &'a str>) -> BTreeSet<Scope> {
        let limited = folders
            .into_iter()
            .filter(|folder| self.folders.contains_key(*folder));
        let mut scopes: BTreeSet<Scope> = limited.map(|folder| Scope::Folder(folder.to_owned())).collect();
        scopes.extend(self.all.map(|_| Scope::All));
        scopes
    }

    /// The limit there.
    #[must_use]
    pub fn of(&self, scope: &Scope) -> Option<u64> {
        match scope {
            Scope::Folder(folder) => self.folders.get(folder).copied(),
            Scope::All => self.all,
        }
    }
}

/// What a limit is on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Folder(String),
    All,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "folder {folder}"),
            Self::All => f.write_str("the whole storage"),
        }
    }
}

/// How full it is. Bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    pub scope: Scope,
    /// `None` is no limit.
    pub limit: Option<u64>,
    /// Of records, and of the trash where that counts.
    pub used: u64,
    /// By uploads and moves under way.
    pub reserved: u64,
}

impl Level {
    /// Used or reserved.
    #[must_use]
    pub const fn taken(&self) -> u64 {
        self.used.saturating_add(self.reserved)
    }

    /// What still fits; `None` where there is no limit.
    #[must_use]
    pub fn available(&self) -> Option<u64> {
        Some(self.limit?.saturating_sub(self.taken()))
    }

    /// Tenths of a percent of the limit that are taken, rounded down; `None` where there is no limit.
    #[must_use]
    pub fn permille(&self) -> Option<u64> {
        let limit = u128::from(self.limit?.max(1));
        Some(u64::try_from(u128::from(self.taken()) * 1000 / limit).unwrap_or(u64::MAX))
    }

    fn shortage(&self, wanted: u64) -> Option<Shortage> {
        let (limit, available) = (self.limit?, self.available()?);
        (wanted > available).then(|| Shortage {
            scope: self.scope.clone(),
            limit,
            used: self.used,
            reserved: self.reserved,
            available,
            wanted,
        })
    }
}

/// Why something does not fit. Bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    pub scope: Scope,
    pub limit: u64,
    pub used: u64,
    pub reserved: u64,
    pub available: u64,
    pub wanted: u64,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            scope,
            limit,
            available,
            wanted,
            ..
        } = self;
        write!(
            f,
            "{wanted} bytes are wanted, and {scope} has {available} of its {limit} left"
        )
    }
}

/// The shortage as scripts read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    folder: Option<&'a str>,
    used: u64,
    reserved: u64,
    limit: u64,
    available: u64,
    wanted: u64,
}

impl Serialize for Shortage {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let folder = match &self.scope {
            Scope::Folder(folder) => Some(folder.as_str()),
            Scope::All => None,
        };
        let Self {
            limit,
            used,
            reserved,
            available,
            wanted,
            ..
        } = *self;
        Details {
            folder,
            used,
            reserved,
            limit,
            available,
            wanted,
        }
        .serialize(serializer)
    }
}

/// What became of something that asked for room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It fits, and its room is reserved.
    Fits,
    /// It does not, and its room is reserved all the same.
    Over(Shortage),
    /// It does not, and nothing is reserved.
    Refused(Shortage),
}

/// Levels that things are admitted under, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    pub levels: Vec<Level>,
    pub enforced: bool,
}

impl Ledger {
    /// Something that comes into a folder: from nowhere, or from another folder of the whole that is counted.
    pub fn admit(&mut self, folder: &str, wanted: u64, from_nowhere: bool) -> Admission {
        let counts = |level: &Level| match &level.scope {
            Scope::Folder(name) => name == folder,
            Scope::All => from_nowhere,
        };
        let mut concerned: Vec<&mut Level> = self.levels.iter_mut().filter(|level| counts(level)).collect();
        let shortage = concerned.iter().find_map(|level| level.shortage(wanted));
        match shortage {
            Some(shortage) if self.enforced => Admission::Refused(shortage),
            shortage => {
                for level in &mut concerned {
                    level.reserved = level.reserved.saturating_add(wanted);
                }
                shortage.map_or(Admission::Fits, Admission::Over)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file that asks for room, and whether it goes away again afterwards.
    type Asked = (usize, u64, bool, bool);

    const FOLDERS: [&str; 3] = ["permits", "public", "free"];

    fn asked() -> impl Strategy<Value = Vec<Asked>> {
        let size = prop_oneof![0..40_u64, Just(u64::MAX), Just(u64::MAX - 5)];
        prop::collection::vec((0..FOLDERS.len(), size, any::<bool>(), any::<bool>()), 0..40)
    }

    fn limits(folders: [Option<u64>; 2], all: Option<u64>) -> Limits {
        let folders = FOLDERS.iter().zip(folders);
        Limits {
            folders: folders
                .filter_map(|(name, limit)| Some(((*name).to_owned(), limit?)))
                .collect(),
            all,
            counts_trash: false,
            enforced: true,
        }
    }

    fn ledger(limits: &Limits) -> Ledger {
        let level = |scope| Level {
            limit: limits.of(&scope),
            scope,
            used: 0,
            reserved: 0,
        };
        Ledger {
            levels: limits.on(FOLDERS).into_iter().map(level).collect(),
            enforced: limits.enforced,
        }
    }

    /// The same with nothing but sums over the list of what was let in, in numbers that never overflow.
    fn fits(limits: &Limits, inside: &[Asked], (folder, size, nowhere, _): Asked) -> bool {
        let sum = |counts: &dyn Fn(&Asked) -> bool| -> u128 {
            inside
                .iter()
                .filter(|file| counts(file))
                .map(|file| u128::from(file.1))
                .sum()
        };
        let within = |limit: Option<&u64>, sum: u128| {
            limit.is_none_or(|limit| sum + u128::from(size) <= u128::from(*limit))
        };
        let in_folder = sum(&|file| file.0 == folder);
        let in_all = sum(&|file| file.2);
        within(limits.folders.get(FOLDERS[folder]), in_folder)
            && (!nowhere || within(limits.all.as_ref(), in_all))
    }

    proptest! {
        #[test]
        fn whatever_fits_is_let_in_and_nothing_else(
            asked in asked(),
            folders in any::<[Option<u8>; 2]>(),
            all in any::<Option<u8>>(),
        ) {
            let limits = limits(folders.map(|limit| limit.map(u64::from)), all.map(u64::from));
            let (mut ledger, mut inside) = (ledger(&limits), Vec::new());
            for file in asked {
                let expected = fits(&limits, &inside, file);
                let answer = ledger.admit(FOLDERS[file.0], file.1, file.2);
                prop_assert_eq!(answer == Admission::Fits, expected, "{:?}", answer);
                if let Admission::Refused(shortage) = &answer {
                    prop_assert!(shortage.wanted > shortage.available);
                    prop_assert_eq!(shortage.available, shortage.limit - shortage.used - shortage.reserved);
                }
                inside.extend(expected.then_some(file));
            }
            for level in &ledger.levels {
                prop_assert!(level.taken() <= level.limit.unwrap());
                prop_assert!(level.permille().unwrap() <= 1000 || level.limit == Some(0));
            }
        }

        #[test]
        fn without_enforcement_everything_is_let_in_and_told(asked in asked(), limit in any::<u8>()) {
            let limits = Limits { enforced: false, ..limits([Some(u64::from(limit)), None], None) };
            let (mut ledger, mut taken) = (ledger(&limits), 0_u64);
            for (folder, size, nowhere, _) in asked {
                let over = folder == 0 && taken.saturating_add(size) > u64::from(limit) && size > 0;
                let answer = ledger.admit(FOLDERS[folder], size, nowhere);
                prop_assert_eq!(matches!(answer, Admission::Over(_)), over);
                prop_assert!(!matches!(answer, Admission::Refused(_)));
                taken = taken.saturating_add(if folder == 0 { size } else { 0 });
            }
        }
    }

    #[test]
    fn a_level_says_how_full_it_is() {
        let level = |limit, used, reserved| Level {
            scope: Scope::All,
            limit,
            used,
            reserved,
        };
        assert_eq!(level(None, 5, 5).available(), None);
        assert_eq!(level(Some(10), 5, 4).available(), Some(1));
        assert_eq!(level(Some(10), 50, 4).available(), Some(0), "over it");
        assert_eq!(level(Some(1000), 799, 0).permille(), Some(799));
        assert_eq!(level(Some(3), 1, 1).permille(), Some(666), "rounded down");
        assert_eq!(level(Some(u64::MAX), u64::MAX, 1).permille(), Some(1000));
        assert_eq!(level(Some(1), u64::MAX, 0).permille(), Some(u64::MAX));
    }

    #[test]
    fn nothing_always_fits() {
        let limits = limits([Some(0), None], Some(0));
        let mut ledger = ledger(&limits);
        ledger.levels[0].used = 7;
        assert_eq!(ledger.admit("permits", 0, true), Admission::Fits);
        assert!(matches!(ledger.admit("permits", 1, true), Admission::Refused(_)));
    }
}
