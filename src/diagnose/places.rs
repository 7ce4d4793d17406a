//! Where a byte of a text is, as editors count: lines, and columns in characters. Looked up, not counted anew each time: a text may be
//! one line of a megabyte with thousands of mistakes in it.

/// Bytes between two counts of characters.
const STRIDE: usize = 1_024;

/// A place in a text, both counted from 1; columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// The places of a text.
#[derive(Debug)]
pub struct Places<'a> {
    text: &'a str,
    /// Where each line starts.
    lines: Vec<usize>,
    /// How many characters start before each [`STRIDE`]th byte.
    counts: Vec<usize>,
}

impl<'a> Places<'a> {
    /// Those of `text`.
    pub fn of(text: &'a str) -> Self {
        let line_ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(line_ends.map(|(at, _)| at + 1)).collect();
        let sums = text.as_bytes().chunks(STRIDE).scan(0, |sum, chunk| {
            *sum += starts(chunk);
            Some(*sum)
        });
        let counts = std::iter::once(0).chain(sums).collect();
        Self { text, lines, counts }
    }

    /// Where the byte `offset` is. An offset within a character is at that character, one behind the end at the end.
    pub fn place(&self, offset: usize) -> Place {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.line(offset);
        Place { line: line + 1, column: self.chars_before(offset) - self.chars_before(self.lines[line]) + 1 }
    }

    /// The line of the byte `offset`, counted from 0.
    pub fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset) - 1
    }

    /// Where a line, counted from 0, starts; the end of the text, where there is none.
    pub fn line_start(&self, line: usize) -> usize {
        self.lines.get(line).copied().unwrap_or(self.text.len())
    }

    fn chars_before(&self, offset: usize) -> usize {
        let chunk = offset / STRIDE;
        self.counts[chunk] + starts(&self.text.as_bytes()[chunk * STRIDE..offset])
    }
}

/// Characters that start in these bytes.
fn starts(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_end_either_way() {
        let place = |text, offset| Places::of(text).place(offset);
        assert_eq!(place("é = 1", 3), Place { line: 1, column: 3 });
        assert_eq!(place("a\r\nb = ", 7), Place { line: 2, column: 5 });
        assert_eq!(place("é", 1), Place { line: 1, column: 1 });
        assert_eq!(place("", 9), Place { line: 1, column: 1 });
        assert_eq!(place("a\n", 2), Place { line: 2, column: 1 });
    }

    #[test]
    fn long_lines_are_counted_as_short_ones() {
        let text = "aé☠\n".repeat(700) + &"é".repeat(2 * STRIDE);
        let places = Places::of(&text);
        for offset in (0..=text.len()).filter(|&offset| text.is_char_boundary(offset)) {
            let before = &text[..offset];
            let start = before.rfind('\n').map_or(0, |end| end + 1);
            let counted = Place { line: before.matches('\n').count() + 1, column: before[start..].chars().count() + 1 };
            assert_eq!(places.place(offset), counted, "{offset}");
        }
    }
}
