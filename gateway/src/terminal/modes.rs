//! What a shell's output has made of a terminal, as far as a page that comes back has to be told: which screen is shown,
//! how keys and the mouse are reported, which characters are drawn.
//!
//! Pure: bytes in, a few flags out. It follows the parser of a VT500 as xterm.js does (vt100.net, Paul Williams), without
//! the text: a control sequence is read, text and strings are passed over. It also knows whether it stands between two
//! of them, where a replay may begin.

use memchr::memchr3;

const ESC: u8 = 0x1b;
const SHIFT_OUT: u8 = 0x0e;
const SHIFT_IN: u8 = 0x0f;
const CANCEL: u8 = 0x18;
const SUBSTITUTE: u8 = 0x1a;
const BELL: u8 = 0x07;

/// Private modes that are on or off, and which of them are on to begin with (DECSET; xterm's ctlseqs).
const SWITCHES: [(u16, bool); 11] = [
    (1, false),    // Application cursor keys.
    (5, false),    // Reverse video.
    (6, false),    // Origin.
    (7, true),     // Wrap around.
    (12, false),   // Blinking cursor.
    (25, true),    // Cursor shown.
    (45, false),   // Wrap around backwards.
    (66, false),   // Application keypad; ESC = and ESC > too.
    (1004, false), // Reports of focus.
    (1007, false), // The wheel as cursor keys.
    (2004, false), // Bracketed paste.
];
const KEYPAD: u16 = 66;
const SCREENS: [u16; 3] = [47, 1047, 1049];
const MICE: [u16; 4] = [9, 1000, 1002, 1003];
const MOUSE_FORMS: [u16; 4] = [1005, 1006, 1015, 1016];
/// Latin letters, which both character sets are to begin with.
const LETTERS: u8 = b'B';
/// Numbers of one control sequence that are looked at; programs set a handful of modes at once.
const NUMBERS_MAX: usize = 16;

/// The modes of a terminal, and where in the stream it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Modes {
    switches: [bool; SWITCHES.len()],
    /// The alternate screen, by the mode that showed it.
    screen: Option<u16>,
    mouse: Option<u16>,
    mouse_form: Option<u16>,
    is_inserting: bool,
    cursor: u16,
    sets: [u8; 2],
    is_shifted: bool,
    at: At,
}

/// Where in the stream of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Between two sequences; within text also inside a character.
    Text,
    Escape,
    /// After `ESC` and one byte between, or 0 for several.
    Between(u8),
    Control(Control),
    /// A control sequence that says nothing here.
    Ignored,
    /// An operating system command, which a bell ends too.
    Command,
    /// Any other string, to its end.
    String,
}

/// A control sequence so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Control {
    /// `?` and its like, or 0.
    marker: u8,
    /// A byte between numbers and end, or 0.
    between: u8,
    numbers: [u16; NUMBERS_MAX],
    /// Which one is being read.
    number: usize,
}

impl Default for Modes {
    fn default() -> Self {
        Self {
            switches: SWITCHES.map(|(_, is_on)| is_on),
            screen: None,
            mouse: None,
            mouse_form: None,
            is_inserting: false,
            cursor: 0,
            sets: [LETTERS; 2],
            is_shifted: false,
            at: At::Text,
        }
    }
}

impl Modes {
    /// Reads what was printed, of any length, cut anywhere.
    pub(super) fn pass(&mut self, mut printed: &[u8]) {
        while let Some((&byte, rest)) = printed.split_first() {
            if self.at == At::Text {
                let Some(next) = memchr3(ESC, SHIFT_OUT, SHIFT_IN, printed) else { return };
                let Some((&byte, rest)) = printed.get(next..).and_then(<[u8]>::split_first) else { return };
                self.byte(byte);
                printed = rest;
            } else {
                self.byte(byte);
                printed = rest;
            }
        }
    }

    /// Reads one byte.
    pub(super) fn byte(&mut self, byte: u8) {
        self.at = match (self.at, byte) {
            (_, CANCEL | SUBSTITUTE) => At::Text,
            // Whatever it was, it is over; of a string this is the end.
            (_, ESC) => At::Escape,
            (At::Text, SHIFT_OUT | SHIFT_IN) => {
                self.is_shifted = byte == SHIFT_OUT;
                At::Text
            }
            (At::Text, _) | (At::Command, BELL) => At::Text,
            (at @ (At::Command | At::String), _) => at,
            // Control characters are obeyed inside sequences, and none of them matters here.
            (at, 0x00..=0x1f | 0x7f) => at,
            (At::Escape, _) => self.escape(byte),
            (At::Between(_), 0x20..=0x2f) => At::Between(0),
            (At::Between(between), _) => {
                self.designate(between, byte);
                At::Text
            }
            (At::Control(control), _) => self.control(control, byte),
            (At::Ignored, 0x40..=0x7e) => At::Text,
            (At::Ignored, _) => At::Ignored,
        };
    }

    fn escape(&mut self, byte: u8) -> At {
        match byte {
            b'[' => return At::Control(Control::default()),
            b']' => return At::Command,
            b'P' | b'X' | b'^' | b'_' => return At::String,
            0x20..=0x2f => return At::Between(byte),
            b'c' => *self = Self::default(),
            b'=' | b'>' => self.switch(KEYPAD, byte == b'='),
            _ => {}
        }
        At::Text
    }

    fn designate(&mut self, between: u8, set: u8) {
        match (between, &mut self.sets) {
            (b'(', [first, _]) => *first = set,
            (b')', [_, second]) => *second = set,
            _ => {}
        }
    }

    fn control(&mut self, mut control: Control, byte: u8) -> At {
        match byte {
            b'0'..=b'9' if control.between == 0 => {
                if let Some(number) = control.numbers.get_mut(control.number) {
                    *number = number.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                }
            }
            b';' if control.between == 0 => control.number = control.number.saturating_add(1),
            b'<'..=b'?' if control == Control::default() => control.marker = byte,
            0x20..=0x2f if control.between == 0 => control.between = byte,
            0x40..=0x7e => {
                self.obey(&control, byte);
                return At::Text;
            }
            _ => return At::Ignored,
        }
        At::Control(control)
    }

    fn obey(&mut self, control: &Control, last: u8) {
        let [first, ..] = control.numbers;
        match (control.marker, control.between, last) {
            (b'?', 0, b'h' | b'l') => {
                for number in control.numbers.iter().take(control.number.saturating_add(1)) {
                    self.private(*number, last == b'h');
                }
            }
            (0, 0, b'h' | b'l') if control.numbers.contains(&4) => self.is_inserting = last == b'h',
            (0, b' ', b'q') => self.cursor = if first <= 6 { first } else { 0 },
            (0, b'!', b'p') => self.soften(),
            _ => {}
        }
    }

    fn private(&mut self, number: u16, is_on: bool) {
        for (known, held) in [
            (&SCREENS[..], &mut self.screen),
            (&MICE[..], &mut self.mouse),
            (&MOUSE_FORMS[..], &mut self.mouse_form),
        ] {
            if known.contains(&number) {
                *held = is_on.then_some(number);
            }
        }
        self.switch(number, is_on);
    }

    fn switch(&mut self, number: u16, is_on: bool) {
        let held = SWITCHES.iter().zip(&mut self.switches).find(|((known, _), _)| *known == number);
        if let Some((_, held)) = held {
            *held = is_on;
        }
    }

    /// The soft reset, which leaves screen and mouse alone (DECSTR).
    fn soften(&mut self) {
        let Self { screen, mouse, mouse_form, cursor, .. } = *self;
        *self = Self { screen, mouse, mouse_form, cursor, ..Self::default() };
    }

    /// Whether it stands between two sequences.
    pub(super) fn is_between(&self) -> bool {
        self.at == At::Text
    }

    /// What makes a terminal that was just reset stand like this one. A sequence that is not over is gone on with as one
    /// that means nothing.
    pub(super) fn set(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut mode = |number: u16, is_on: bool| {
            let last = if is_on { 'h' } else { 'l' };
            out.extend_from_slice(format!("\x1b[?{number}{last}").as_bytes());
        };
        for number in [self.screen, self.mouse, self.mouse_form].into_iter().flatten() {
            mode(number, true);
        }
        for ((number, usual), is_on) in SWITCHES.iter().zip(self.switches) {
            if is_on != *usual {
                mode(*number, is_on);
            }
        }
        if self.is_inserting {
            out.extend_from_slice(b"\x1b[4h");
        }
        if self.cursor != 0 {
            out.extend_from_slice(format!("\x1b[{} q", self.cursor).as_bytes());
        }
        for (designates, set) in [b'(', b')'].into_iter().zip(self.sets) {
            if set != LETTERS {
                out.extend_from_slice(&[ESC, designates, set]);
            }
        }
        if self.is_shifted {
            out.push(SHIFT_OUT);
        }
        out.extend_from_slice(match self.at {
            At::Text => b"",
            // No such command, no such string, no such sequence.
            At::Command => b"\x1b]9999;",
            At::String => b"\x1bX",
            At::Escape | At::Between(_) | At::Control(_) | At::Ignored => b"\x1b[??",
        });
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(printed: &[u8]) -> Modes {
        let mut modes = Modes::default();
        modes.pass(printed);
        modes
    }

    fn set_by(printed: &str) -> String {
        String::from_utf8(after(printed.as_bytes()).set()).unwrap()
    }

    #[test]
    fn what_a_full_screen_program_switches_on_is_remembered_until_it_switches_it_off() {
        let on = "text\x1b[?1049h\x1b[?1h\x1b=\x1b[?2004h\x1b[?1002;1006h\x1b[?25l\x1b[2 q\x1b[31mred";
        assert_eq!(
            set_by(on),
            "\x1b[?1049h\x1b[?1002h\x1b[?1006h\x1b[?1h\x1b[?25l\x1b[?66h\x1b[?2004h\x1b[2 q"
        );
        let off = "\x1b[?1002l\x1b[?1006l\x1b[?25h\x1b[?2004l\x1b>\x1b[?1l\x1b[?1049l\x1b[0 q";
        assert_eq!(set_by(&format!("{on}{off}")), "");
        assert_eq!(set_by(&format!("{on}\x1bc")), "", "a reset");
        assert_eq!(set_by(&format!("{on}\x1b[!p")), "\x1b[?1049h\x1b[?1002h\x1b[?1006h\x1b[2 q");
    }

    #[test]
    fn lines_are_drawn_on_with_the_characters_they_were_drawn_with() {
        assert_eq!(set_by("\x1b(0lqqk"), "\x1b(0");
        assert_eq!(set_by("\x1b)0\x0elqqk"), "\x1b)0\x0e");
        assert_eq!(set_by("\x1b)0\x0elqqk\x0f\x1b)B"), "");
    }

    #[test]
    fn what_only_looks_like_a_mode_changes_nothing() {
        for printed in [
            "\x1b]0;a title with [?1049h in it\x07",
            "\x1bP+q[?25l\x1b\\",
            "\x1b[?1049",
            "\x1b[?10\x1849h",
            "\x1b[>1049h",
            "\x1b[?1049$p",
            "\x1b[1049h",
            "[?1049h",
            "\x1b[?99999999999999h",
        ] {
            let modes = Modes { at: At::Text, ..after(printed.as_bytes()) };
            assert_eq!(modes, Modes::default(), "{printed:?}");
        }
        // A control character inside a sequence does not end it.
        assert_eq!(set_by("\x1b[?10\n49h"), "\x1b[?1049h");
    }

    #[test]
    fn between_is_where_a_sequence_is_over() {
        for (printed, is_between) in [
            (&b""[..], true),
            (b"text", true),
            (b"\x1b", false),
            (b"\x1b[", false),
            (b"\x1b[1;", false),
            (b"\x1b[1;2m", true),
            (b"\x1b(", false),
            (b"\x1b(0", true),
            (b"\x1b]0;title", false),
            (b"\x1b]0;title\x07", true),
            (b"\x1bPdata\x07", false),
            (b"\x1bPdata\x1b\\", true),
            (b"\x1bPdata\x18", true),
        ] {
            assert_eq!(after(printed).is_between(), is_between, "{printed:?}");
        }
    }

    #[test]
    fn a_string_that_is_not_over_swallows_its_rest_and_no_more() {
        for begun in ["\x1b]52;c;AAAA", "\x1bPq#0;2", "\x1b_app"] {
            let mut modes = after(&after(begun.as_bytes()).set());
            assert!(!modes.is_between());
            modes.pass(b"rest\x1b\\");
            assert!(modes.is_between());
            assert_eq!(modes, Modes::default());
        }
    }

    /// What programs print, and what nobody would.
    fn printed() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..8),
            (
                any::<bool>(),
                proptest::sample::select(vec![1, 7, 12, 25, 47, 66, 1000, 1002, 1006, 1049, 2004, 9])
            )
                .prop_map(|(on, mode)| format!("\x1b[?{mode}{}", if on { 'h' } else { 'l' }).into_bytes()),
            proptest::sample::select(vec![
                "\x1bc", "\x1b[!p", "\x1b=", "\x1b>", "\x1b(0", "\x0e", "\x1b]0;", "\x07"
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
            "[ -~\u{e4}\u{6f22}]{0,12}".prop_map(String::into_bytes),
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_in_pieces_as_in_one_and_set_again_by_a_few(
            printed in printed(), more in printed(), cut in 0_usize..200,
        ) {
            let whole = after(&printed);
            let cut = cut.min(printed.len());
            let mut parted = after(&printed[..cut]);
            parted.pass(&printed[cut..]);
            prop_assert_eq!(parted, whole);
            let mut bytewise = Modes::default();
            printed.iter().for_each(|byte| bytewise.byte(*byte));
            prop_assert_eq!(bytewise, whole);

            let set = whole.set();
            prop_assert!(set.len() < 256, "{} bytes", set.len());
            if whole.is_between() {
                let mut again = after(&set);
                prop_assert_eq!(again, whole);
                let mut on = whole;
                on.pass(&more);
                again.pass(&more);
                prop_assert_eq!(again, on);
            }
        }
    }
}
