//! Text that strangers wrote (prompts, logs, Slurm's messages), made fit for a terminal, a log file and a page.

/// The text without what would steer a terminal or disguise a line: escape sequences, control characters except newline
/// and tab, and the characters that turn the direction of writing. A carriage return becomes a newline, so that no line
/// covers another.
///
/// A control string (a window's title, say) is removed with all that is in it, but never beyond its line: an
/// unfinished one must not swallow the rest of a log. It does not escape HTML; the templates do.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => match rest.next_if(|c| matches!(c, ' '..='~')) {
                Some('[') => skip_control_sequence(&mut rest),
                Some(']' | 'P' | 'X' | '^' | '_') => skip_control_string(&mut rest),
                // The other escapes are one character behind any number of intermediate ones.
                Some(' '..='/') => {
                    while rest.next_if(|c| matches!(c, ' '..='/')).is_some() {}
                    rest.next_if(|c| matches!(c, '0'..='~'));
                }
                _ => {}
            },
            // The same introducers as single characters of the C1 set.
            '\u{9b}' => skip_control_sequence(&mut rest),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_control_string(&mut rest),
            '\r' => {
                rest.next_if_eq(&'\n');
                out.push('\n');
            }
            '\n' | '\t' => out.push(c),
            c if c.is_control() || turns_direction(c) => {}
            c => out.push(c),
        }
    }
    out
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Parameters, intermediates and the final character of a CSI sequence, such as a colour or a cursor movement.
fn skip_control_sequence(rest: &mut Rest<'_>) {
    while rest.next_if(|c| matches!(c, ' '..='?')).is_some() {}
    rest.next_if(|c| matches!(c, '@'..='~'));
}

/// Everything up to the terminator (BEL, ST or `ESC \`), which goes too, or to the end of the line, which stays.
fn skip_control_string(rest: &mut Rest<'_>) {
    while let Some(c) = rest.next_if(|c| !matches!(c, '\n' | '\r' | '\u{1b}')) {
        if matches!(c, '\u{7}' | '\u{9c}') {
            return;
        }
    }
    if rest.peek() == Some(&'\u{1b}') {
        let mut ahead = rest.clone();
        ahead.next();
        // Any other escape ends the string as well, and is looked at by itself.
        if ahead.next() == Some('\\') {
            *rest = ahead;
        }
    }
}

/// Marks, embeddings, overrides and isolates of the bidirectional algorithm, and the separators of lines and
/// paragraphs.
fn turns_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn plain_text_stays_as_it_is() {
        for text in
            ["", "a fox\n\tin the snow", "Ärger, 山水, 🦊, עברית", "<script>alert(1)</script> & \"$(reboot)\"", "[31m"]
        {
            assert_eq!(printable(text), text);
        }
    }

    #[test]
    fn escape_sequences_go_whole() {
        for (text, expected) in [
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}[2J\u{1b}[1;1Hclean", "clean"),
            ("\u{1b}[38;2;1;2;3mx\u{1b}[?25l", "x"),
            ("\u{9b}31mred", "red"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;http://evil.example\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{9d}0;title\u{9c}text", "text"),
            ("\u{1b}P1$r0m\u{1b}\\x\u{1b}_apc\u{1b}\\\u{1b}^pm\u{1b}\\\u{1b}Xsos\u{1b}\\y", "xy"),
            ("\u{1b}(Bx\u{1b}7\u{1b}cy\u{1b}=", "xy"),
            ("end\u{1b}", "end"),
            ("end\u{1b}[", "end"),
            ("\u{1b}\u{1b}[1mx", "x"),
        ] {
            assert_eq!(printable(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_unfinished_swallows_no_other_line() {
        assert_eq!(printable("\u{1b}]0;no end\nnext line"), "\nnext line");
        assert_eq!(printable("\u{1b}[12;\nnext line"), "\nnext line");
        assert_eq!(printable("\u{1b}\nnext line"), "\nnext line");
        assert_eq!(printable("\u{1b}]0;title\u{1b}[1mbold"), "bold");
        assert_eq!(printable("\u{1b}]0;a\rb"), "\nb");
    }

    #[test]
    fn control_characters_go_and_lines_cover_nothing() {
        assert_eq!(printable("a\0b\u{8}c\u{7f}d\u{b}\u{c}\u{85}e"), "abcde");
        assert_eq!(printable("10%\r20%\r\nend"), "10%\n20%\nend");
        assert_eq!(printable("user\u{202e}gnp.exe\u{2066}x\u{2069}\u{200f}\u{2028}y"), "usergnp.exexy");
        let all: String = (0..=0x2fff).filter_map(char::from_u32).collect();
        assert!(!printable(&all).contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
    }
}
