//! Which templates are allowed: minijinja's tree is turned into our own, node by node, and what
//! has no counterpart there is a fault that says what to write instead.

use std::collections::BTreeSet;

use chrono::format::{Item, StrftimeItems};
use minijinja::machinery::{self, Span, ast};
use minijinja::syntax::SyntaxConfig;
use serde_json::Value as Json;

use super::Part;
use super::filter::Filter;
use super::limits;
use super::template::{Comparison, Expression, Node, TemplateFault};

/// Deepest expression we walk.
const DEPTH_MAX: usize = 60;
/// A field and two levels below it.
const PATH_MAX: usize = 3;

const FILTERS: &str = "use default, upper, lower, title, capitalize, trim, length, first, last, round, date or urlencode";

/// Reads `source` into nodes and the names of the fields it uses.
pub(super) fn read(
    part: Part,
    source: &str,
) -> Result<(Vec<Node>, BTreeSet<String>), Vec<TemplateFault>> {
    let mut reader = Reader { part, fields: BTreeSet::new(), faults: Vec::new(), depth: 0 };
    limits::check(part, source).map_err(|fault| vec![fault])?;
    let nodes = match machinery::parse(source, "", SyntaxConfig::default()) {
        Ok(ast::Stmt::Template(root)) => reader.nodes(&root.children),
        Ok(_) => Vec::new(),
        Err(error) => {
            let line = error.line().and_then(|line| u32::try_from(line).ok()).unwrap_or(1);
            let found = error.detail().unwrap_or("this is not a template").to_owned();
            reader.fault(line, found, "close every {{ }} and every {% if %} … {% endif %}");
            Vec::new()
        }
    };
    if reader.faults.is_empty() { Ok((nodes, reader.fields)) } else { Err(reader.faults) }
}

struct Reader {
    part: Part,
    fields: BTreeSet<String>,
    faults: Vec<TemplateFault>,
    depth: usize,
}

impl Reader {
    fn fault(&mut self, line: u32, found: impl Into<String>, instead: impl Into<String>) {
        let (found, instead) = (found.into(), instead.into());
        self.faults.push(TemplateFault { part: self.part, line, found, instead });
    }

    fn nodes(&mut self, statements: &[ast::Stmt<'_>]) -> Vec<Node> {
        statements.iter().filter_map(|statement| self.node(statement)).collect()
    }

    fn node(&mut self, statement: &ast::Stmt<'_>) -> Option<Node> {
        let (span, found, instead) = match statement {
            ast::Stmt::EmitRaw(raw) => return Some(Node::Raw(raw.raw.to_owned())),
            ast::Stmt::EmitExpr(emit) => return self.expression(&emit.expr).map(Node::Print),
            ast::Stmt::IfCond(branch) => {
                // Both bodies are read even if the test is wrong: all faults at once.
                let test = self.expression(&branch.expr);
                let then = self.nodes(&branch.true_body);
                let otherwise = self.nodes(&branch.false_body);
                return Some(Node::If { test: test?, then, otherwise });
            }
            ast::Stmt::ForLoop(it) => (
                it.span(),
                "`for` is not allowed",
                "print the list as {{ field }}, or its start as {{ field | first }}",
            ),
            ast::Stmt::WithBlock(it) => (it.span(), "`with` is not allowed", WRITE_OUT),
            ast::Stmt::Set(it) => (it.span(), "`set` is not allowed", WRITE_OUT),
            ast::Stmt::SetBlock(it) => (it.span(), "`set` is not allowed", WRITE_OUT),
            ast::Stmt::AutoEscape(it) => {
                (it.span(), "`autoescape` is not allowed", "HTML is always escaped: remove it")
            }
            ast::Stmt::FilterBlock(it) => (
                it.span(),
                "`filter` blocks are not allowed",
                "filter each field: {{ field | upper }}",
            ),
            ast::Stmt::Block(it) => (it.span(), "`block` is not allowed", ONE_TEXT),
            ast::Stmt::Import(it) => (it.span(), "`import` is not allowed", ONE_TEXT),
            ast::Stmt::FromImport(it) => (it.span(), "`from` is not allowed", ONE_TEXT),
            ast::Stmt::Extends(it) => (it.span(), "`extends` is not allowed", ONE_TEXT),
            ast::Stmt::Include(it) => (it.span(), "`include` is not allowed", ONE_TEXT),
            ast::Stmt::Macro(it) => (it.span(), "`macro` is not allowed", WRITE_OUT),
            ast::Stmt::CallBlock(it) => (it.span(), "`call` is not allowed", WRITE_OUT),
            ast::Stmt::Do(it) => (it.span(), "`do` is not allowed", "remove it"),
            ast::Stmt::Template(it) => (it.span(), "a template inside a template", "remove it"),
        };
        self.fault(line(span), found, instead);
        None
    }

    fn expression(&mut self, expr: &ast::Expr<'_>) -> Option<Expression> {
        self.depth += 1;
        let read = if self.depth > DEPTH_MAX {
            self.fault(line(expr.span()), "this expression is nested too deeply", "split it");
            None
        } else {
            self.expression_within_depth(expr)
        };
        self.depth -= 1;
        read
    }

    fn expression_within_depth(&mut self, expr: &ast::Expr<'_>) -> Option<Expression> {
        match expr {
            ast::Expr::Var(_) | ast::Expr::GetAttr(_) | ast::Expr::GetItem(_) => self.field(expr),
            ast::Expr::Const(_) | ast::Expr::List(_) | ast::Expr::Tuple(_) => self.constant(expr),
            ast::Expr::UnaryOp(operation) => match operation.op {
                ast::UnaryOpKind::Not => {
                    Some(Expression::Not(Box::new(self.expression(&operation.expr)?)))
                }
                ast::UnaryOpKind::Neg => self.constant(expr),
            },
            ast::Expr::BinOp(operation) => self.operation(operation),
            ast::Expr::Compare(chain) => {
                let first = self.expression(&chain.expr);
                let rest: Vec<_> = chain
                    .ops
                    .iter()
                    .map(|op| Some((comparison(op.op), self.expression(&op.expr)?)))
                    .collect();
                let rest = rest.into_iter().collect::<Option<_>>()?;
                Some(Expression::Compare { first: Box::new(first?), rest })
            }
            ast::Expr::IfExpr(choice) => {
                let test = self.expression(&choice.test_expr);
                let then = self.expression(&choice.true_expr);
                let otherwise = match &choice.false_expr {
                    Some(otherwise) => Some(Box::new(self.expression(otherwise)?)),
                    None => None,
                };
                Some(Expression::Choose { test: Box::new(test?), then: Box::new(then?), otherwise })
            }
            ast::Expr::Filter(filter) => self.filter(filter, expr.span()),
            ast::Expr::Test(test) => self.test(test, expr.span()),
            ast::Expr::Slice(_) => {
                self.refuse(expr, "slices are not allowed", "use {{ field | first }} or | last")
            }
            ast::Expr::Call(_) => {
                self.refuse(expr, "calls are not allowed", "name a field: {{ company.name }}")
            }
            ast::Expr::Map(_) => self.refuse(expr, "maps are not allowed", "name a field"),
        }
    }

    fn refuse<T>(&mut self, expr: &ast::Expr<'_>, found: &str, instead: &str) -> Option<T> {
        self.fault(line(expr.span()), found, instead);
        None
    }

    fn field(&mut self, expr: &ast::Expr<'_>) -> Option<Expression> {
        let mut path = Vec::new();
        let mut at = expr;
        loop {
            at = match at {
                ast::Expr::Var(variable) => {
                    path.push(variable.id.to_owned());
                    break;
                }
                ast::Expr::GetAttr(attribute) => {
                    path.push(attribute.name.to_owned());
                    &attribute.expr
                }
                ast::Expr::GetItem(item) => {
                    let Some(Json::String(name)) = constant_of(&item.subscript_expr) else {
                        let instead = "name it in quotes: custom[\"job title\"]";
                        return self.refuse(
                            expr,
                            "a field is looked up by something else",
                            instead,
                        );
                    };
                    path.push(name);
                    &item.expr
                }
                ast::Expr::Const(_)
                | ast::Expr::Slice(_)
                | ast::Expr::UnaryOp(_)
                | ast::Expr::BinOp(_)
                | ast::Expr::Compare(_)
                | ast::Expr::IfExpr(_)
                | ast::Expr::Filter(_)
                | ast::Expr::Test(_)
                | ast::Expr::Call(_)
                | ast::Expr::List(_)
                | ast::Expr::Tuple(_)
                | ast::Expr::Map(_) => {
                    return self.refuse(expr, "only fields have parts", "name the field first");
                }
            };
        }
        path.reverse();
        if path.len() > PATH_MAX {
            let instead = "a field has at most two levels below it: company.address.city";
            return self.refuse(expr, &format!("`{}` goes too deep", path.join(".")), instead);
        }
        if let Some(name) = path.iter().find(|name| {
            name.starts_with('_') || matches!(name.as_str(), "self" | "super" | "loop" | "caller")
        }) {
            return self.refuse(expr, &format!("`{name}` is no field"), "name a field of the lead");
        }
        self.fields.insert(path.join("."));
        Some(Expression::Field(path))
    }

    fn constant(&mut self, expr: &ast::Expr<'_>) -> Option<Expression> {
        match constant_of(expr) {
            Some(constant) => Some(Expression::Constant(constant)),
            None => {
                self.refuse(expr, "this is neither a field nor a constant", "write the value out")
            }
        }
    }

    fn operation(&mut self, operation: &ast::Spanned<ast::BinOp<'_>>) -> Option<Expression> {
        let sign = match operation.op {
            ast::BinOpKind::ScAnd | ast::BinOpKind::ScOr => {
                let left = self.expression(&operation.left);
                let right = self.expression(&operation.right);
                let (left, right) = (Box::new(left?), Box::new(right?));
                return Some(match operation.op {
                    ast::BinOpKind::ScAnd => Expression::And(left, right),
                    _ => Expression::Or(left, right),
                });
            }
            ast::BinOpKind::Eq => Ok(Comparison::Equal),
            ast::BinOpKind::Ne => Ok(Comparison::NotEqual),
            ast::BinOpKind::Lt => Ok(Comparison::Less),
            ast::BinOpKind::Lte => Ok(Comparison::LessOrEqual),
            ast::BinOpKind::Gt => Ok(Comparison::Greater),
            ast::BinOpKind::Gte => Ok(Comparison::GreaterOrEqual),
            ast::BinOpKind::In => Ok(Comparison::In),
            ast::BinOpKind::Add => Err("+"),
            ast::BinOpKind::Sub => Err("-"),
            ast::BinOpKind::Mul => Err("*"),
            ast::BinOpKind::Div => Err("/"),
            ast::BinOpKind::FloorDiv => Err("//"),
            ast::BinOpKind::Rem => Err("%"),
            ast::BinOpKind::Pow => Err("**"),
            ast::BinOpKind::Concat => Err("~"),
        };
        match sign {
            Ok(comparison) => {
                let left = self.expression(&operation.left);
                let right = self.expression(&operation.right);
                Some(Expression::Compare {
                    first: Box::new(left?),
                    rest: vec![(comparison, right?)],
                })
            }
            Err(sign) => {
                let instead = match sign {
                    "~" | "+" => "write the fields one after the other: {{ a }} {{ b }}",
                    _ => "import the result as a field of the lead",
                };
                self.fault(line(operation.span()), format!("`{sign}` is not allowed"), instead);
                None
            }
        }
    }

    fn test(&mut self, test: &ast::Test<'_>, span: Span) -> Option<Expression> {
        let operand = self.expression(&test.expr);
        match (test.name, test.args.is_empty()) {
            ("defined", true) => Some(Expression::IsDefined(Box::new(operand?))),
            ("none" | "undefined", true) => {
                let defined = Expression::IsDefined(Box::new(operand?));
                Some(Expression::Not(Box::new(defined)))
            }
            (name, _) => {
                let found = format!("the test `is {name}` is not allowed");
                self.fault(line(span), found, "use `is defined`, `is none` or a comparison");
                None
            }
        }
    }

    fn filter(&mut self, filter: &ast::Filter<'_>, span: Span) -> Option<Expression> {
        let operand = match &filter.expr {
            Some(operand) => self.expression(operand),
            None => None,
        };
        let mut arguments = Vec::new();
        for argument in &filter.args {
            let ast::CallArg::Pos(argument) = argument else {
                let found = format!("the filter `{}` takes no named arguments", filter.name);
                self.fault(line(span), found, "write the value alone: default(\"there\")");
                return None;
            };
            arguments.push(argument);
        }
        let kind = match (filter.name, arguments.as_slice()) {
            ("default" | "d", [other]) => {
                let other = Box::new(self.expression(other)?);
                Filter::Default { other, empty_too: false }
            }
            ("default" | "d", [other, flag])
                if matches!(constant_of(flag), Some(Json::Bool(_))) =>
            {
                let other = Box::new(self.expression(other)?);
                Filter::Default { other, empty_too: constant_of(flag) == Some(Json::Bool(true)) }
            }
            ("default" | "d", _) => {
                let instead =
                    "write default(\"there\"), or default(\"there\", true) for empty fields too";
                self.fault(line(span), "`default` needs the text to fall back to", instead);
                return None;
            }
            ("upper", []) => Filter::Upper,
            ("lower", []) => Filter::Lower,
            ("title", []) => Filter::Title,
            ("capitalize", []) => Filter::Capitalize,
            ("trim", []) => Filter::Trim,
            ("length" | "count", []) => Filter::Length,
            ("first", []) => Filter::First,
            ("last", []) => Filter::Last,
            ("urlencode", []) => Filter::Urlencode,
            ("round", []) => Filter::Round { digits: 0 },
            ("round", [digits]) => match constant_of(digits).as_ref().and_then(Json::as_u64) {
                Some(digits @ 0..=6) => Filter::Round { digits: u8::try_from(digits).ok()? },
                Some(_) | None => {
                    self.fault(line(span), "`round` takes 0 to 6 digits", "write round(2)");
                    return None;
                }
            },
            ("date", []) => Filter::Date { pattern: "%-d %B %Y".to_owned() },
            ("date", [pattern]) => match constant_of(pattern) {
                Some(Json::String(pattern)) if is_date_pattern(&pattern) => {
                    Filter::Date { pattern }
                }
                Some(_) | None => {
                    let found = "`date` does not know this pattern";
                    self.fault(line(span), found, "write a pattern such as date(\"%d.%m.%Y\")");
                    return None;
                }
            },
            (
                name @ ("upper" | "lower" | "title" | "capitalize" | "trim" | "length" | "count"
                | "first" | "last" | "urlencode"),
                _,
            ) => {
                let found = format!("the filter `{name}` takes no arguments");
                self.fault(line(span), found, format!("write | {name}"));
                return None;
            }
            (name @ ("safe" | "e" | "escape"), _) => {
                let found = format!("the filter `{name}` is not allowed");
                self.fault(line(span), found, "fields are escaped by themselves: remove it");
                return None;
            }
            (name, _) => {
                self.fault(line(span), format!("the filter `{name}` is not allowed"), FILTERS);
                return None;
            }
        };
        Some(Expression::Filter(Box::new(operand?), kind))
    }
}

const WRITE_OUT: &str = "write the text where it is needed";
const ONE_TEXT: &str = "put the whole text here";

fn line(span: Span) -> u32 {
    u32::from(span.start_line).max(1)
}

fn comparison(kind: ast::CompareOpKind) -> Comparison {
    match kind {
        ast::CompareOpKind::Eq => Comparison::Equal,
        ast::CompareOpKind::Ne => Comparison::NotEqual,
        ast::CompareOpKind::Lt => Comparison::Less,
        ast::CompareOpKind::Lte => Comparison::LessOrEqual,
        ast::CompareOpKind::Gt => Comparison::Greater,
        ast::CompareOpKind::Gte => Comparison::GreaterOrEqual,
        ast::CompareOpKind::In => Comparison::In,
        ast::CompareOpKind::NotIn => Comparison::NotIn,
    }
}

/// A text, number, truth value, `none`, or a list of them. Nothing is computed here: minijinja's
/// own folding would evaluate `"a" * 1000000000`.
fn constant_of(expr: &ast::Expr<'_>) -> Option<Json> {
    match expr {
        ast::Expr::Const(constant) => match serde_json::to_value(&constant.value) {
            Ok(Json::Object(_) | Json::Array(_)) | Err(_) => None,
            Ok(scalar) => Some(scalar),
        },
        ast::Expr::UnaryOp(operation) => match (&operation.op, &operation.expr) {
            (ast::UnaryOpKind::Neg, ast::Expr::Const(_)) => {
                negative(&constant_of(&operation.expr)?)
            }
            (ast::UnaryOpKind::Neg | ast::UnaryOpKind::Not, _) => None,
        },
        ast::Expr::List(list) => constants(&list.items),
        ast::Expr::Tuple(tuple) => constants(&tuple.items),
        ast::Expr::Var(_)
        | ast::Expr::Slice(_)
        | ast::Expr::BinOp(_)
        | ast::Expr::Compare(_)
        | ast::Expr::IfExpr(_)
        | ast::Expr::Filter(_)
        | ast::Expr::Test(_)
        | ast::Expr::GetAttr(_)
        | ast::Expr::GetItem(_)
        | ast::Expr::Call(_)
        | ast::Expr::Map(_) => None,
    }
}

fn constants(items: &[ast::Expr<'_>]) -> Option<Json> {
    let scalars = items.iter().map(|item| match item {
        ast::Expr::Const(_) | ast::Expr::UnaryOp(_) => constant_of(item),
        _ => None,
    });
    scalars.collect::<Option<Vec<_>>>().map(Json::Array)
}

fn negative(number: &Json) -> Option<Json> {
    match (number.as_i64(), number.as_f64()) {
        (Some(integer), _) => integer.checked_neg().map(Json::from),
        (None, Some(float)) => Some(Json::from(-float)),
        (None, None) => None,
    }
}

/// Whether a `strftime` pattern prints dates: an unknown letter, or one that needs a time of day,
/// would fail while a mail is being written.
fn is_date_pattern(pattern: &str) -> bool {
    use std::fmt::Write;
    let known = StrftimeItems::new(pattern).all(|item| !matches!(item, Item::Error));
    let sample = chrono::NaiveDate::default();
    known && pattern.len() <= 60 && write!(String::new(), "{}", sample.format(pattern)).is_ok()
}
