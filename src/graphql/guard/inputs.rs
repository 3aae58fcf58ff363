//! The values that come with a request: how much they weigh, and the list sizes that they tell.
//!
//! The validator copies a variable's value wherever the variable is used, and the executor once per object that the
//! field is asked of: a value's weight counts there, not where it is sent.

use std::collections::HashMap;

use async_graphql::{Name, Value as ConstValue, Variables, parser::types::ExecutableDocument};
use async_graphql_value::Value;

use super::limits::{Excess, INPUT_DEPTH, INPUTS};
use crate::domain::page::PAGE_MAX;

/// A text of so many bytes counts like another value.
const TEXT_BYTES: u64 = 256;

/// What the walk has to know of a variable.
#[derive(Clone, Copy, Debug, Default)]
struct Variable {
    weight: u64,
    /// As the size of a page.
    page: u64,
    /// Its items; none where it is no list.
    items: u64,
    /// As a list; one value stands for a list of one.
    length: u64,
    /// The longest list right inside it.
    batch: u64,
}

/// What the value of an argument weighs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weight {
    /// With the values of its variables.
    pub values: u64,
    /// As it is written.
    pub literals: u64,
}

/// The variables of a request.
pub(super) struct Inputs<'a> {
    variables: HashMap<&'a str, Variable>,
    uses: u64,
}

impl<'a> Inputs<'a> {
    /// Looks at each variable once, and at the defaults. Where operations differ in these, the largest counts.
    pub fn of(document: &'a ExecutableDocument, sent: &'a Variables) -> Result<Self, Excess> {
        let mut variables: HashMap<&str, Variable> = HashMap::new();
        let mut total = 0;
        for (name, value) in sent.iter() {
            let before = total;
            weigh_constant(value, 1, &mut total)?;
            variables.insert(name.as_str(), Variable::of(value, total - before));
        }
        let definitions = document.operations.iter().flat_map(|(_, operation)| &operation.node.variable_definitions);
        for definition in definitions {
            let Some(default) = &definition.node.default_value else { continue };
            let name = definition.node.name.node.as_str();
            if sent.contains_key(name) {
                continue;
            }
            let before = total;
            weigh_constant(&default.node, 1, &mut total)?;
            let (new, known) = (Variable::of(&default.node, total - before), variables.entry(name).or_default());
            *known = Variable {
                weight: known.weight.max(new.weight),
                page: known.page.max(new.page),
                items: known.items.max(new.items),
                length: known.length.max(new.length),
                batch: known.batch.max(new.batch),
            };
        }
        Ok(Self { variables, uses: 0 })
    }

    /// How often variables were used in what was weighed.
    pub const fn uses(&self) -> u64 {
        self.uses
    }

    fn variable(&self, name: &Name) -> Variable {
        self.variables.get(name.as_str()).copied().unwrap_or_default()
    }

    /// What an argument's value weighs.
    pub fn weigh(&mut self, value: &Value) -> Result<Weight, Excess> {
        let mut weight = Weight::default();
        self.weigh_inside(value, 1, &mut weight)?;
        Ok(weight)
    }

    fn weigh_inside(&mut self, value: &Value, depth: u64, weight: &mut Weight) -> Result<(), Excess> {
        INPUT_DEPTH.check(depth)?;
        weight.literals += 1;
        let own = match value {
            Value::Variable(name) => {
                self.uses += 1;
                self.variable(name).weight.max(1)
            }
            Value::String(text) => weight_of_text(text),
            _ => 1,
        };
        weight.values = weight.values.saturating_add(own);
        match value {
            Value::List(items) => items.iter().try_for_each(|item| self.weigh_inside(item, depth + 1, weight)),
            Value::Object(fields) => fields.values().try_for_each(|field| self.weigh_inside(field, depth + 1, weight)),
            _ => Ok(()),
        }
    }

    /// The size of a page, as the field takes it. What it refuses costs as little as nothing, or as much as the largest.
    pub fn page(&self, value: &Value) -> u64 {
        match value {
            Value::Variable(name) => self.variable(name).page,
            Value::Number(number) => page(number.as_i64()),
            _ => 0,
        }
    }

    /// The length of a list; one value stands for a list of one.
    pub fn length(&self, value: &Value) -> u64 {
        match value {
            Value::Variable(name) => self.variable(name).length,
            Value::List(items) => items.len() as u64,
            Value::Null => 0,
            _ => 1,
        }
    }

    /// The longest list right inside an input.
    pub fn batch(&self, value: &Value) -> u64 {
        match value {
            Value::Variable(name) => self.variable(name).batch,
            Value::Object(fields) => {
                let items = fields.values().map(|field| match field {
                    Value::Variable(name) => self.variable(name).items,
                    Value::List(items) => items.len() as u64,
                    _ => 0,
                });
                items.max().unwrap_or(0)
            }
            _ => 0,
        }
    }
}

impl Variable {
    fn of(value: &ConstValue, weight: u64) -> Self {
        let items = |value: &ConstValue| match value {
            ConstValue::List(items) => items.len() as u64,
            _ => 0,
        };
        Self {
            weight,
            page: match value {
                ConstValue::Number(number) => page(number.as_i64()),
                _ => 0,
            },
            items: items(value),
            length: match value {
                ConstValue::List(items) => items.len() as u64,
                ConstValue::Null => 0,
                _ => 1,
            },
            batch: match value {
                ConstValue::Object(fields) => fields.values().map(items).max().unwrap_or(0),
                _ => 0,
            },
        }
    }
}

fn page(number: Option<i64>) -> u64 {
    number.map_or(PAGE_MAX.unsigned_abs().into(), |number| number.clamp(0, PAGE_MAX.into()).unsigned_abs())
}

const fn weight_of_text(text: &str) -> u64 {
    1 + text.len() as u64 / TEXT_BYTES
}

/// Adds the values inside a value, and stops where they are too many.
fn weigh_constant(value: &ConstValue, depth: u64, total: &mut u64) -> Result<(), Excess> {
    INPUT_DEPTH.check(depth)?;
    *total = total.saturating_add(match value {
        ConstValue::String(text) => weight_of_text(text),
        _ => 1,
    });
    INPUTS.check(*total)?;
    match value {
        ConstValue::List(items) => items.iter().try_for_each(|item| weigh_constant(item, depth + 1, total)),
        ConstValue::Object(fields) => fields.values().try_for_each(|field| weigh_constant(field, depth + 1, total)),
        _ => Ok(()),
    }
}
