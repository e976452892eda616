//! The man page, made of the descriptions that `--help` shows, so that the two cannot differ.

use std::fmt::Write;

use argh::{ArgsInfo, CommandInfoWithArgs, FlagInfo, FlagInfoKind, FromArgs, Optionality, PositionalInfo};

use super::Args;

/// Print the manual page.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "man", note = "To read it: {command_name} | man -l -", help_triggers("-h", "--help"))]
pub struct Man {}

/// The program's name, where a text leaves it open.
const PROGRAM: &str = "httpmq";

/// The manual page of the program and all its commands, as roff with the macros of man(7).
#[must_use]
pub fn man_page() -> String {
    let info = Args::get_args_info();
    let mut page = format!(".TH HTTPMQ 1 \"\" \"httpmq {}\" \"User Commands\"\n", env!("CARGO_PKG_VERSION"));
    page.push_str(".SH NAME\nhttpmq \\- a durable message queue over HTTP and TCP\n.SH SYNOPSIS\n");
    let _ = writeln!(page, ".B httpmq\n[options]\n.br\n.B httpmq\n.I command\n[options] [arguments]");
    let _ = writeln!(page, ".SH DESCRIPTION\n{}", text(info.description));
    flags(&mut page, ".SH OPTIONS", info.flags);
    page.push_str(".SH COMMANDS\n");
    for command in &info.commands {
        describe(&mut page, command.name, &command.command);
    }
    page.push_str(".SH SETTINGS\n");
    info.notes.iter().for_each(|note| verbatim(&mut page, &filled(note, PROGRAM)));
    page.push_str(".SH FILES\n.TP\n.I httpmq.toml\nThe settings; httpmq \\-\\-check shows those in force.\n");
    page.push_str(".SH EXIT STATUS\n");
    for exit in info.error_codes {
        let _ = writeln!(page, ".TP\n.B {}\n{}", exit.code, text(exit.description));
    }
    page.push_str(".SH EXAMPLES\n");
    info.examples.iter().for_each(|example| verbatim(&mut page, &filled(example, PROGRAM)));
    page
}

fn describe(page: &mut String, name: &str, command: &CommandInfoWithArgs) {
    let full_name = format!("{PROGRAM} {name}");
    let _ = write!(page, ".SS {}\n.B {} {}\n[options]", text(name), PROGRAM, text(name));
    for positional in command.positionals {
        let _ = write!(page, " {}", word(positional));
    }
    let _ = writeln!(page, "\n.PP\n{}", text(command.description));
    flags(page, "", command.flags);
    for note in command.notes {
        page.push_str(".PP\n");
        verbatim(page, &filled(note, &full_name));
    }
    for example in command.examples {
        page.push_str(".PP\n");
        verbatim(page, &filled(example, &full_name));
    }
    for nested in &command.commands {
        describe(page, &format!("{name} {}", nested.name), &nested.command);
    }
}

fn flags(page: &mut String, head: &str, flags: &[FlagInfo]) {
    if !head.is_empty() {
        let _ = writeln!(page, "{head}");
    }
    for flag in flags.iter().filter(|flag| !flag.hidden) {
        let short = flag.short.map(|short| format!("\\-{short}, ")).unwrap_or_default();
        let _ = write!(page, ".TP\n\\fB{short}{}\\fR", text(flag.long));
        if let FlagInfoKind::Option { arg_name } = flag.kind {
            let _ = write!(page, " \\fI{}\\fR", text(arg_name));
        }
        let _ = writeln!(page, "\n{}", text(flag.description));
    }
}

fn word(positional: &PositionalInfo) -> String {
    let name = format!("\\fI{}\\fR", text(positional.name));
    match positional.optionality {
        Optionality::Required => name,
        Optionality::Optional => format!("[{name}]"),
        Optionality::Repeating | Optionality::Greedy => format!("[{name} ...]"),
    }
}

/// Lines that stand as they are.
fn verbatim(page: &mut String, lines: &str) {
    page.push_str(".nf\n");
    lines.lines().for_each(|line| page.push_str(&(text(line) + "\n")));
    page.push_str(".fi\n");
}

/// A text of `--help` with its placeholders filled in, as argh does it.
fn filled(help: &str, command_name: &str) -> String {
    help.replace("{command_name}", command_name).replace("{{", "{").replace("}}", "}")
}

/// A text that means nothing to roff: no escapes, and no request at the beginning of a line.
fn text(plain: &str) -> String {
    let escaped = plain.replace('\\', "\\e").replace('-', "\\-");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(text(r".so /etc\n --x"), r"\&.so /etc\en \-\-x");
        assert_eq!(filled("{command_name} prints {{\"a\":1}}", "httpmq tail"), "httpmq tail prints {\"a\":1}");
    }

    #[test]
    fn an_argument_shows_whether_it_may_be_left_out() {
        let shown = |optionality| word(&PositionalInfo { name: "queue", description: "", optionality, hidden: false });
        assert_eq!(shown(Optionality::Required), r"\fIqueue\fR");
        assert_eq!(shown(Optionality::Optional), r"[\fIqueue\fR]");
        assert_eq!(shown(Optionality::Repeating), r"[\fIqueue\fR ...]");
    }
}
