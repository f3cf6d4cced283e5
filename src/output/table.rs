//! Tables for people: aligned columns and nothing around them, so that they read well at 80 columns and go through
//! `grep` and `awk` unharmed. Every cell is escaped on its way in.

use std::io;

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table as Grid, presets};

use super::{Human, escape};

/// Which side a column's text stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    /// Numbers.
    Right,
}

/// Rows under headings. Holds its rows: for a page of them, not for a million.
#[derive(Debug)]
pub struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    #[must_use]
    pub fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, one text per column, not escaped yet.
    pub fn row<I, S>(&mut self, cells: I)
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        self.rows.push(
            cells
                .into_iter()
                .map(|cell| escape(cell.as_ref()).into_owned())
                .collect(),
        );
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// On a terminal, cells that do not fit are wrapped, never cut; in a pipe every row is one line.
    pub(super) fn write(&self, human: &mut Human<'_>) -> io::Result<()> {
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING);
        match human.width {
            Some(width) => grid
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width),
            None => grid.set_content_arrangement(ContentArrangement::Disabled),
        };
        let heading =
            |(title, align): &(&'static str, Align)| Cell::new(title).set_alignment(alignment(*align));
        grid.set_header(self.columns.iter().map(heading));
        for row in &self.rows {
            let cells = row.iter().zip(&self.columns);
            grid.add_row(cells.map(|(text, (_, align))| Cell::new(text).set_alignment(alignment(*align))));
        }
        let last = self.columns.len().saturating_sub(1);
        for (i, column) in grid.column_iter_mut().enumerate() {
            column.set_padding((0, if i == last { 0 } else { 2 }));
        }
        for (i, line) in grid.lines().enumerate() {
            match line.trim_end() {
                heading if i == 0 => human.heading(heading)?,
                line => human.line(line)?,
            }
        }
        Ok(())
    }
}

const fn alignment(align: Align) -> CellAlignment {
    match align {
        Align::Left => CellAlignment::Left,
        Align::Right => CellAlignment::Right,
    }
}

#[cfg(test)]
mod tests {
    use super::{Align, Table};
    use crate::output::Human;

    fn text(table: &Table, width: Option<u16>) -> String {
        let mut out = Vec::new();
        let mut human = Human {
            out: &mut out,
            color: false,
            width,
        };
        human.table(table).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_stand_on_the_right_and_nothing_frames_them() {
        let mut table = Table::new(&[("FOLDER", Align::Left), ("FILES", Align::Right)]);
        table.row(["permits", "7"]);
        table.row(["public", "1,024"]);
        assert_eq!(
            text(&table, None),
            "FOLDER   FILES\npermits      7\npublic   1,024\n"
        );
    }

    #[test]
    fn a_name_cannot_forge_a_row_or_a_colour() {
        let mut table = Table::new(&[("NAME", Align::Left)]);
        table.row(["a\nb\x1b[31m\u{202e}"]);
        assert_eq!(text(&table, None), "NAME\na\\nb\\x1b[31m\\u{202e}\n");
    }

    #[test]
    fn a_long_name_wraps_on_a_terminal_and_stays_whole_in_a_pipe() {
        let long = "x".repeat(100);
        let mut table = Table::new(&[("NAME", Align::Left), ("SIZE", Align::Right)]);
        table.row([long.as_str(), "1 KB"]);
        assert!(text(&table, None).contains(&long));
        assert!(text(&table, Some(40)).lines().all(|line| line.len() <= 40));
        assert_eq!(text(&table, Some(40)).matches('x').count(), 100);
    }
}
