//! What can be wrong with a template: by itself, or with the values that it gets.

use serde::Serialize;

/// Why a template or an expression cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum TemplateFault {
    /// There can be no template at this place.
    #[error("it must be plain text here")]
    NotPlain,
    /// An expression is written as a template.
    #[error("it is an expression, written without `{{{{` and `}}}}`")]
    Braces,
    /// It gives a name to a value.
    #[error("it gives a name to a value, and templates name nothing but what they loop over")]
    NamesAValue,
    /// A name without what must follow.
    #[error("`{0}` must be followed by the name of what is meant")]
    Vague(String),
    /// A filter, test or function that does not exist.
    #[error("there is no {tool} `{name}`")]
    UnknownTool {
        /// Which of them.
        tool: Tool,
        /// As it is written.
        name: String,
    },
    /// What the parser says, in English.
    #[error("{0}")]
    Parser(String),
}

/// What templates work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Tool {
    /// `| filter`.
    #[error("filter")]
    Filter,
    /// `is test`.
    #[error("test")]
    Test,
    /// `function()`.
    #[error("function")]
    Function,
}

/// Why a template gave nothing. Found before the step starts, so nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum TemplateError {
    /// It does not parse.
    #[error("could not read `{template}`: {fault}")]
    Syntax {
        /// The template, shortened.
        template: String,
        /// Why not.
        fault: TemplateFault,
    },
    /// It refers to what has no value.
    #[error("`{template}` needs `{name}`, which is not defined")]
    Undefined {
        /// The template, shortened.
        template: String,
        /// What is missing.
        name: String,
    },
    /// It puts null into a longer text.
    #[error("`{template}` needs `{name}`, which is null; say what to use instead with `| default(\"…\")`")]
    Null {
        /// The template, shortened.
        template: String,
        /// What is null.
        name: String,
    },
    /// It works without end, or gives more than any input holds.
    #[error("`{template}` does more work than a template may")]
    TooMuch {
        /// The template, shortened.
        template: String,
    },
    /// A filter or an operator cannot do what is asked.
    #[error("could not render `{template}`: {detail}")]
    Failed {
        /// The template, shortened.
        template: String,
        /// What minijinja says.
        detail: String,
    },
    /// It gives what no input can hold.
    #[error("could not render `{template}`: {what}")]
    Unfit {
        /// The template, shortened.
        template: String,
        /// What that is.
        what: Unfit,
    },
}

/// What a template gives that no input can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
pub enum Unfit {
    /// A number beyond 64 bits.
    #[error("the number is too large")]
    Number,
    /// A list that cannot be read.
    #[error("the list cannot be read")]
    List,
    /// A table that cannot be read.
    #[error("the table cannot be read")]
    Table,
    /// A table with a name that is no text.
    #[error("a table has a name that is no text")]
    Name,
    /// Something in it is not defined.
    #[error("something in it is not defined")]
    Undefined,
    /// Neither text nor number, boolean, list or table.
    #[error("what it gives is no value that an input can hold")]
    Value,
}
