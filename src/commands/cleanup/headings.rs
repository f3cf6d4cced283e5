//! What stands above each list of findings.

use crate::output::Align;

/// A kind's heading and columns.
pub struct Heading {
    pub title: &'static str,
    pub columns: &'static [(&'static str, Align)],
}

pub const OBJECTS: Heading = Heading {
    title: "Orphaned objects: no record names them",
    columns: &[
        ("PROVIDER", Align::Left),
        ("KEY", Align::Left),
        ("SIZE", Align::Right),
        ("MODIFIED", Align::Left),
    ],
};
pub const RECORDS: Heading = Heading {
    title: "Orphaned records: their object is gone",
    columns: &[
        ("ID", Align::Left),
        ("NAME", Align::Left),
        ("FOLDER", Align::Left),
        ("CREATED", Align::Left),
    ],
};
pub const MISMATCHES: Heading = Heading {
    title: "Size mismatches",
    columns: &[
        ("ID", Align::Left),
        ("NAME", Align::Left),
        ("RECORDED", Align::Right),
        ("STORED", Align::Right),
    ],
};
pub const MISPLACED: Heading = Heading {
    title: "Misplaced objects: a record that names another place has their UUID",
    columns: &[
        ("PROVIDER", Align::Left),
        ("KEY", Align::Left),
        ("RECORD", Align::Left),
        ("ITS OBJECT", Align::Left),
    ],
};
pub const STRAYS: Heading = Heading {
    title: "Strays",
    columns: &[
        ("PROVIDER", Align::Left),
        ("KEY", Align::Left),
        ("SIZE", Align::Right),
    ],
};
pub const UNMAPPED: Heading = Heading {
    title: "Unmapped records: no configured provider matches their path",
    columns: &[("ID", Align::Left), ("NAME", Align::Left), ("PATH", Align::Left)],
};
pub const UPLOADS: Heading = Heading {
    title: "Uploads in parts that were never ended",
    columns: &[
        ("PROVIDER", Align::Left),
        ("KEY", Align::Left),
        ("BEGUN", Align::Left),
        ("STATE", Align::Left),
    ],
};
pub const ERRORS: Heading = Heading {
    title: "Could not be judged",
    columns: &[("ITEM", Align::Left), ("WHY", Align::Left)],
};
