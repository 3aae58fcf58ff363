//! One walk over a parsed document, each fragment once: how large it is when it is unfolded, and what it may cost.
//!
//! Everything is reckoned from below: a selection's extent is the sum of its parts', so that a fragment's is found once
//! and added wherever it is spread. The walk is linear in the document, whatever the document unfolds to; sums saturate.
//!
//! What stands below a connection or a batch repeats with its size, which a fragment on the connection's type does not
//! know. Sums are therefore [`Linear`]: a fixed part, and a part per item of the page or batch around.

use std::collections::HashMap;

use async_graphql::{
    Name, Positioned, Variables,
    parser::types::{
        Directive, ExecutableDocument, Field, FragmentDefinition, OperationDefinition, OperationType, Selection,
        SelectionSet,
    },
};

use super::{
    Refused,
    inputs::Inputs,
    limits::{
        ALIASES, ARGUMENTS, COMPARISONS, DEPTH, DIRECTIVES, DIRECTIVES_AT_ONCE, FIELDS, FRAGMENTS, INPUTS,
        INTROSPECTION_LISTS, LEVELS, OPERATIONS, ROOT_FIELDS,
    },
    shape::{FieldShape, Repeat, Shape, Sizes, TypeIndex},
};

/// What a mutation costs beside the objects of its answer: a transaction.
const MUTATION: u64 = 10;
/// What an introspection costs, whatever it asks for: the answer to the usual one has a few thousand objects.
const INTROSPECTION: u64 = 1_000;

/// What the walk found out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Objects that the answer of the chosen operation may hold.
    pub objects: u64,
    /// Points of its mutations.
    pub work: u64,
    /// Whether any operation asks for the schema.
    pub introspects: bool,
    /// Selections that were looked at: the walk's own work.
    #[cfg(test)]
    pub visited: u64,
    /// Fields of all operations, fragments unfolded.
    #[cfg(test)]
    pub fields: u64,
}

/// A sum with a part for each item of the page or batch around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Linear {
    fixed: u64,
    per_item: u64,
}

impl Linear {
    const fn at(self, items: u64) -> u64 {
        self.fixed.saturating_add(self.per_item.saturating_mul(items))
    }

    const fn add(&mut self, other: Self) {
        self.fixed = self.fixed.saturating_add(other.fixed);
        self.per_item = self.per_item.saturating_add(other.per_item);
    }
}

/// How large a selection is, unfolded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Extent {
    fields: u64,
    aliases: u64,
    directives: u64,
    /// Fields inside fields.
    depth: u64,
    /// Selections inside selections.
    levels: u64,
    /// Fields of this selection itself.
    width: u64,
    /// The same with their arguments as they are written: what is compared when fields are merged.
    flat: u64,
    introspection_lists: u64,
    introspects: bool,
    work: u64,
    objects: Linear,
    inputs: Linear,
}

impl Extent {
    /// Adds what stands beside.
    fn add(&mut self, other: &Self) {
        for (sum, part) in [
            (&mut self.fields, other.fields),
            (&mut self.aliases, other.aliases),
            (&mut self.directives, other.directives),
            (&mut self.width, other.width),
            (&mut self.flat, other.flat),
            (&mut self.work, other.work),
        ] {
            *sum = sum.saturating_add(part);
        }
        self.depth = self.depth.max(other.depth);
        self.levels = self.levels.max(other.levels);
        self.introspection_lists = self.introspection_lists.max(other.introspection_lists);
        self.introspects |= other.introspects;
        self.objects.add(other.objects);
        self.inputs.add(other.inputs);
    }
}

/// The walk, and what it remembers.
struct Walk<'a> {
    schema: &'a Shape,
    fragments: &'a HashMap<Name, Positioned<FragmentDefinition>>,
    inputs: Inputs<'a>,
    /// None while a fragment is being walked.
    done: HashMap<&'a str, Option<Extent>>,
    level: u64,
    comparisons: u64,
    spreads: u64,
    visited: u64,
}

/// Walks all operations and fragments of a document.
pub(super) fn walk(
    schema: &Shape,
    document: &ExecutableDocument,
    chosen: Option<&str>,
    variables: &Variables,
) -> Result<Findings, Refused> {
    OPERATIONS.check(document.operations.iter().len() as u64)?;
    FRAGMENTS.check(document.fragments.len() as u64)?;
    let mut walk = Walk {
        schema,
        fragments: &document.fragments,
        inputs: Inputs::of(document, variables)?,
        done: HashMap::new(),
        level: 0,
        comparisons: 0,
        spreads: 0,
        visited: 0,
    };
    let mut all = Extent::default();
    let mut findings = Findings::default();
    for (name, operation) in document.operations.iter() {
        let extent = walk.operation(&operation.node)?;
        if chosen.is_none() || name.map(Name::as_str) == chosen {
            findings.objects = findings.objects.max(extent.objects.at(0));
            findings.work = findings.work.max(extent.work);
        }
        all.add(&extent);
    }
    for name in document.fragments.keys() {
        let extent = walk.fragment(name)?;
        LEVELS.check(extent.levels)?;
    }
    findings.introspects = all.introspects;
    walk.check(document, &all)?;
    #[cfg(test)]
    {
        (findings.visited, findings.fields) = (walk.visited, all.fields);
    }
    Ok(findings)
}

impl<'a> Walk<'a> {
    fn operation(&mut self, operation: &'a OperationDefinition) -> Result<Extent, Refused> {
        let root = match operation.ty {
            OperationType::Query => "Query",
            OperationType::Mutation => "Mutation",
            OperationType::Subscription => "Subscription",
        };
        let mut extent = self.selection_set(&operation.selection_set.node, self.schema.named(root))?;
        let definitions = operation.variable_definitions.iter().map(|definition| &definition.node.directives);
        for directives in definitions.chain([&operation.directives]) {
            self.directives(directives, &mut extent)?;
        }
        ROOT_FIELDS.check(extent.width)?;
        if operation.ty == OperationType::Subscription && extent.width > 1 {
            return Err(Refused::Invalid("a subscription has one root field"));
        }
        Ok(extent)
    }

    fn selection_set(&mut self, set: &'a SelectionSet, of: Option<TypeIndex>) -> Result<Extent, Refused> {
        // Also bounds the recursion of this walk.
        self.level += 1;
        LEVELS.check(self.level)?;
        let mut extent = Extent::default();
        for selection in &set.items {
            self.visited += 1;
            match &selection.node {
                Selection::Field(field) => extent.add(&self.field(&field.node, of)?),
                Selection::InlineFragment(inline) => {
                    self.directives(&inline.node.directives, &mut extent)?;
                    let of = match &inline.node.type_condition {
                        Some(condition) => self.schema.named(&condition.node.on.node),
                        None => of,
                    };
                    extent.add(&self.selection_set(&inline.node.selection_set.node, of)?);
                }
                Selection::FragmentSpread(spread) => {
                    self.spreads += 1;
                    self.directives(&spread.node.directives, &mut extent)?;
                    extent.add(&self.fragment(&spread.node.fragment_name.node)?);
                }
            }
        }
        self.level -= 1;
        extent.levels += 1;
        // The validator looks for fields to merge anew in each selection, through all fragments.
        self.comparisons = self.comparisons.saturating_add(extent.flat);
        Ok(extent)
    }

    /// A fragment's extent, found once. One that is not there is left to the validator.
    fn fragment(&mut self, name: &str) -> Result<Extent, Refused> {
        let Some((name, definition)) = self.fragments.get_key_value(name) else { return Ok(Extent::default()) };
        match self.done.get(name.as_str()) {
            Some(Some(extent)) => return Ok(*extent),
            Some(None) => return Err(Refused::Invalid("a fragment spreads itself")),
            None => {}
        }
        self.done.insert(name, None);
        let of = self.schema.named(&definition.node.type_condition.node.on.node);
        let mut extent = self.selection_set(&definition.node.selection_set.node, of)?;
        self.directives(&definition.node.directives, &mut extent)?;
        self.done.insert(name, Some(extent));
        Ok(extent)
    }

    fn field(&mut self, field: &'a Field, parent: Option<TypeIndex>) -> Result<Extent, Refused> {
        let name = field.name.node.as_str();
        let shape = parent.and_then(|of| self.schema.field(of, name));
        let inner = if field.selection_set.node.items.is_empty() {
            Extent::default()
        } else {
            self.selection_set(&field.selection_set.node, shape.map(|shape| shape.of))?
        };
        ARGUMENTS.check(field.arguments.len() as u64)?;
        let (mut values, mut literals) = (0_u64, 0);
        for (_, value) in &field.arguments {
            let weight = self.inputs.weigh(&value.node)?;
            values = values.saturating_add(weight.values);
            literals += weight.literals;
        }
        let is_introspection = matches!(name, "__schema" | "__type");
        let mut extent = Extent {
            fields: inner.fields.saturating_add(1),
            aliases: inner.aliases.saturating_add(field.alias.is_some().into()),
            directives: inner.directives,
            depth: inner.depth + 1,
            levels: inner.levels,
            width: 1,
            flat: literals + 1,
            introspection_lists: inner.introspection_lists + u64::from(shape.is_none() && is_introspection_list(name)),
            introspects: inner.introspects || is_introspection,
            work: inner.work,
            objects: Linear { fixed: if is_introspection { INTROSPECTION } else { 0 }, per_item: 0 },
            inputs: Linear { fixed: values, per_item: 0 },
        };
        self.repeat(field, shape, &inner, &mut extent);
        self.directives(&field.directives, &mut extent)?;
        Ok(extent)
    }

    /// Adds what stands below a field, as often as the field answers it.
    fn repeat(&self, field: &Field, shape: Option<&FieldShape>, inner: &Extent, extent: &mut Extent) {
        let argument = |name: &str| field.get_argument(name).map(|value| &value.node);
        let size = match shape.map(|shape| shape.sizes) {
            Some(Sizes::Page) => {
                let asked = ["first", "last"].map(|name| argument(name).map_or(0, |value| self.inputs.page(value)));
                asked[0].max(asked[1])
            }
            Some(Sizes::Batch) => {
                let items = field.arguments.iter().map(|(_, value)| self.inputs.batch(&value.node)).max().unwrap_or(0);
                extent.work = extent.work.saturating_add(MUTATION).saturating_add(items);
                items
            }
            Some(Sizes::Nothing) | None => 0,
        };
        let objects = inner.objects.at(size).saturating_add(shape.is_some().into());
        let inputs = inner.inputs.at(size);
        let repeated = |times: u64| Linear { fixed: objects.saturating_mul(times), per_item: 0 };
        let (objects, inputs) = match shape.map_or(&Repeat::One, |shape| &shape.repeat) {
            Repeat::PerItem => (Linear { fixed: 0, per_item: objects }, Linear { fixed: 0, per_item: inputs }),
            repeat => {
                let times = match repeat {
                    Repeat::Times(times) => *times,
                    Repeat::PerArgument(name) => argument(name).map_or(0, |value| self.inputs.length(value)),
                    Repeat::One | Repeat::PerItem => 1,
                };
                (repeated(times), Linear { fixed: inputs.saturating_mul(times), per_item: 0 })
            }
        };
        extent.objects.add(objects);
        extent.inputs.add(inputs);
    }

    fn directives(&mut self, directives: &'a [Positioned<Directive>], extent: &mut Extent) -> Result<(), Refused> {
        DIRECTIVES_AT_ONCE.check(directives.len() as u64)?;
        extent.directives = extent.directives.saturating_add(directives.len() as u64);
        for directive in directives {
            ARGUMENTS.check(directive.node.arguments.len() as u64)?;
            for (_, value) in &directive.node.arguments {
                let weight = self.inputs.weigh(&value.node)?;
                extent.inputs.fixed = extent.inputs.fixed.saturating_add(weight.values);
            }
        }
        Ok(())
    }

    /// Holds the whole document to the caps.
    fn check(&self, document: &ExecutableDocument, all: &Extent) -> Result<(), Refused> {
        LEVELS.check(all.levels)?;
        DEPTH.check(all.depth)?;
        ALIASES.check(all.aliases)?;
        DIRECTIVES.check(all.directives)?;
        FIELDS.check(all.fields)?;
        INPUTS.check(all.inputs.at(0))?;
        INTROSPECTION_LISTS.check(all.introspection_lists)?;
        // Each operation's variables are sought, one after the other, wherever one is used, in any fragment.
        let definitions =
            document.operations.iter().map(|(_, operation)| operation.node.variable_definitions.len() + 1);
        let definitions: usize = definitions.sum();
        let sought = (definitions as u64).saturating_mul(self.inputs.uses().saturating_add(self.spreads));
        COMPARISONS.check(self.comparisons.saturating_add(sought))?;
        Ok(())
    }
}

/// Whether a field of the introspection lists types, or what has a type.
fn is_introspection_list(name: &str) -> bool {
    matches!(name, "fields" | "inputFields" | "interfaces" | "possibleTypes")
}
