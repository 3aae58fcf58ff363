//! What the walk has to know of the schema: which fields answer objects, and how many. Made once, from the SDL.
//!
//! # Adding a plain list
//! Nothing, where about [`PLAIN_LIST`] objects are usual; else a line in [`LISTS`].

use std::{collections::HashMap, sync::LazyLock};

use async_graphql::parser::{
    parse_schema,
    types::{BaseType, FieldDefinition, ServiceDocument, Type, TypeKind, TypeSystemDefinition},
};

/// Objects that a plain list is reckoned with. The request is settled by what the answer holds.
const PLAIN_LIST: u64 = 10;
/// Plain lists that usually hold more, or less.
const LISTS: &[(&str, &str, u64)] = &[
    ("Query", "report", 1_000),
    ("AttributionPreview", "affiliates", 100),
    ("AttributionRun", "affiliates", 100),
    ("TrialBalance", "lines", 50),
    ("Journal", "entries", 4),
    ("CommissionRule", "versions", 2),
    ("Campaign", "caps", 4),
];
/// Refusals are rare, and few.
const USER_ERRORS: &str = "userErrors";

pub(super) static SCHEMA: LazyLock<Shape> = LazyLock::new(|| Shape::parse(&crate::graphql::sdl()));

/// A type's place in the table.
pub(super) type TypeIndex = usize;

/// The types that have fields.
#[derive(Debug)]
pub(super) struct Shape {
    types: Vec<HashMap<String, FieldShape>>,
    by_name: HashMap<String, TypeIndex>,
}

/// A field that answers objects. Those that answer scalars and enums are not in the table.
#[derive(Clone, Debug)]
pub(super) struct FieldShape {
    pub of: TypeIndex,
    pub repeat: Repeat,
    pub sizes: Sizes,
}

/// How many objects a field answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    One,
    /// As many as the page or batch around it has.
    PerItem,
    /// As many as the list in this argument.
    PerArgument(String),
    Times(u64),
}

/// What a field says about the lists right below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sizes {
    Nothing,
    /// `first` or `last`.
    Page,
    /// The longest list inside its input.
    Batch,
}

impl Shape {
    pub(super) fn parse(sdl: &str) -> Self {
        let document = parse_schema(sdl).expect("our own SDL parses");
        let by_name: HashMap<String, TypeIndex> =
            fields_of(&document).enumerate().map(|(index, (name, _))| (name.to_owned(), index)).collect();
        let types = fields_of(&document)
            .map(|(name, fields)| {
                fields
                    .filter_map(|field| Some((field.name.node.to_string(), FieldShape::of(name, field, &by_name)?)))
                    .collect()
            })
            .collect();
        Self { types, by_name }
    }

    pub(super) fn named(&self, name: &str) -> Option<TypeIndex> {
        self.by_name.get(name).copied()
    }

    pub(super) fn field(&self, of: TypeIndex, name: &str) -> Option<&FieldShape> {
        self.types[of].get(name)
    }
}

/// The types with fields, and those.
fn fields_of(document: &ServiceDocument) -> impl Iterator<Item = (&str, impl Iterator<Item = &FieldDefinition>)> {
    document.definitions.iter().filter_map(|definition| {
        let TypeSystemDefinition::Type(definition) = definition else { return None };
        let fields = match &definition.node.kind {
            TypeKind::Object(object) => &object.fields,
            TypeKind::Interface(interface) => &interface.fields,
            _ => return None,
        };
        Some((definition.node.name.node.as_str(), fields.iter().map(|field| &field.node)))
    })
}

impl FieldShape {
    /// None for a field that answers no objects.
    fn of(parent: &str, field: &FieldDefinition, by_name: &HashMap<String, TypeIndex>) -> Option<Self> {
        let of = *by_name.get(type_name(&field.ty.node))?;
        let argument = |wanted: &str| field.arguments.iter().any(|argument| argument.node.name.node == wanted);
        let list_argument = field.arguments.iter().find(|argument| is_list(&argument.node.ty.node));
        let name = field.name.node.as_str();
        let per_item = (parent.ends_with("Connection") && matches!(name, "edges" | "nodes"))
            || (parent.ends_with("Payload") && name == "items");
        let repeat = if !is_list(&field.ty.node) {
            Repeat::One
        } else if per_item {
            Repeat::PerItem
        } else if let Some(argument) = list_argument {
            Repeat::PerArgument(argument.node.name.node.to_string())
        } else if name == USER_ERRORS {
            Repeat::Times(1)
        } else {
            let known = LISTS.iter().find(|(of, list, _)| *of == parent && *list == name);
            Repeat::Times(known.map_or(PLAIN_LIST, |(.., times)| *times))
        };
        let sizes = if argument("first") || argument("last") {
            Sizes::Page
        } else if parent == "Mutation" {
            Sizes::Batch
        } else {
            Sizes::Nothing
        };
        Some(Self { of, repeat, sizes })
    }
}

fn type_name(ty: &Type) -> &str {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(inner) => type_name(inner),
    }
}

const fn is_list(ty: &Type) -> bool {
    matches!(ty.base, BaseType::List(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(parent: &str, name: &str) -> Option<(Repeat, Sizes)> {
        let of = SCHEMA.named(parent).expect("a type");
        SCHEMA.field(of, name).map(|field| (field.repeat.clone(), field.sizes))
    }

    #[test]
    fn schema_tells_how_many_objects_a_field_answers() {
        assert_eq!(field("Query", "campaigns"), Some((Repeat::One, Sizes::Page)));
        assert_eq!(field("CampaignConnection", "edges"), Some((Repeat::PerItem, Sizes::Nothing)));
        assert_eq!(field("CampaignConnection", "totalCount"), None);
        assert_eq!(field("Query", "nodes"), Some((Repeat::PerArgument("ids".to_owned()), Sizes::Nothing)));
        assert_eq!(field("Mutation", "recordConversions"), Some((Repeat::One, Sizes::Batch)));
        assert_eq!(field("RecordConversionsPayload", "items"), Some((Repeat::PerItem, Sizes::Nothing)));
        assert_eq!(field("RecordConversionPayload", "userErrors"), Some((Repeat::Times(1), Sizes::Nothing)));
        assert_eq!(field("Attribution", "touches"), Some((Repeat::Times(PLAIN_LIST), Sizes::Nothing)));
    }

    #[test]
    fn listed_lists_exist() {
        for (parent, name, times) in LISTS {
            assert_eq!(field(parent, name), Some((Repeat::Times(*times), Sizes::Nothing)), "{parent}.{name}");
        }
    }
}
