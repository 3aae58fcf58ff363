//! The schema as data, for tests that walk its whole surface.

use std::collections::{BTreeMap, BTreeSet};

use async_graphql::parser::{
    parse_schema,
    types::{BaseType, FieldDefinition, InputValueDefinition, Type, TypeDefinition, TypeKind, TypeSystemDefinition},
};

/// The types by name.
pub struct Sdl {
    pub types: BTreeMap<String, Def>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Scalar,
    Object,
    Interface,
    Union,
    Enum,
    Input,
}

/// A type. An enum's values are its fields.
pub struct Def {
    pub name: String,
    pub kind: Kind,
    pub description: Option<String>,
    pub implements: Vec<String>,
    /// Of a union.
    pub members: Vec<String>,
    pub fields: Vec<Field>,
}

/// A field, an input field, an argument or an enum value.
#[derive(Clone)]
pub struct Field {
    pub name: String,
    pub description: Option<String>,
    /// Of an enum value, none.
    pub ty: Option<Type>,
    pub args: Vec<Field>,
    pub has_default: bool,
}

impl Field {
    /// The type without its lists and exclamation marks.
    pub fn named(&self) -> &str {
        self.ty.as_ref().map_or("", named)
    }

    pub fn is_list(&self) -> bool {
        self.ty.as_ref().is_some_and(|ty| matches!(ty.base, BaseType::List(_)))
    }

    pub fn is_connection(&self) -> bool {
        self.named().ends_with("Connection")
    }

    pub fn arg(&self, name: &str) -> Option<&Self> {
        self.args.iter().find(|arg| arg.name == name)
    }

    /// Whether a document must give it.
    fn is_required(&self) -> bool {
        self.ty.as_ref().is_some_and(|ty| !ty.nullable) && !self.has_default
    }
}

fn named(ty: &Type) -> &str {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(inner) => named(inner),
    }
}

/// What one role may not read: `Type_field`.
pub type Closed = BTreeSet<String>;

impl Sdl {
    /// The schema of this build.
    pub fn of_this_build() -> Self {
        let document = parse_schema(tributary::graphql::sdl()).expect("our own SDL parses");
        let types = document.definitions.into_iter().filter_map(|definition| match definition {
            TypeSystemDefinition::Type(ty) => Some(Def::of(ty.node)),
            TypeSystemDefinition::Schema(_) | TypeSystemDefinition::Directive(_) => None,
        });
        Self { types: types.map(|def| (def.name.clone(), def)).collect() }
    }

    pub fn get(&self, name: &str) -> Option<&Def> {
        self.types.get(name)
    }

    /// The fields of a root, or of any other type.
    pub fn fields(&self, name: &str) -> &[Field] {
        self.get(name).map_or(&[], |def| &def.fields)
    }

    pub fn is_leaf(&self, name: &str) -> bool {
        self.get(name).is_none_or(|def| matches!(def.kind, Kind::Scalar | Kind::Enum))
    }

    /// The types that implement an interface, or are in a union.
    pub fn implementors(&self, name: &str) -> Vec<&Def> {
        let members = self.get(name).map_or(&[][..], |def| &def.members);
        let is_one = |def: &&Def| members.contains(&def.name) || def.implements.iter().any(|known| known == name);
        self.types.values().filter(is_one).collect()
    }

    /// A document that calls a root field as `result` with every argument as a variable of its name.
    pub fn document(&self, root: &str, field: &Field, args: &serde_json::Value, selection: &str) -> String {
        let given: Vec<&Field> = field.args.iter().filter(|arg| args.get(&arg.name).is_some()).collect();
        let list = |join: &dyn Fn(&Field) -> String| match given.is_empty() {
            true => String::new(),
            false => format!("({})", given.iter().map(|arg| join(arg)).collect::<Vec<_>>().join(", ")),
        };
        let variables = list(&|arg| format!("${}: {}", arg.name, arg.ty.as_ref().expect("an argument has a type")));
        let passed = list(&|arg| format!("{0}: ${0}", arg.name));
        let selection = if selection.is_empty() { String::new() } else { format!("{{ {selection} }}") };
        let root = root.to_lowercase();
        format!("{root}{variables} {{ result: {}{passed} {selection} }}", field.name)
    }

    /// Selects everything of a type to a depth of objects (pages of a connection do not count), in as many texts as it
    /// takes for each to be small enough for a document. With a list of what is closed, all but that, and every field as
    /// `Type_field`, so that an error's location tells which it is about.
    pub fn pieces(&self, name: &str, depth: usize, closed: Option<&Closed>) -> Vec<String> {
        Walk { sdl: self, closed, nearest: None }.pieces(name, "", depth)
    }

    /// As [`Sdl::pieces`] with a list of what is closed, but what is below a type is selected at one place only, the
    /// nearest to the root: elsewhere there are its leaves. Every field of every type that is near enough is there,
    /// and the number of texts grows with the schema, not with the ways through it.
    pub fn pieces_once(&self, name: &str, depth: usize, closed: &Closed) -> Vec<String> {
        let mut walk = Walk { sdl: self, closed: Some(closed), nearest: None };
        walk.nearest = Some(walk.nearest(name, depth));
        walk.pieces(name, "", depth)
    }

    /// Selects a connection's count, where it has one.
    pub fn count_of(&self, field: &Field) -> &'static str {
        let has_count = self.fields(field.named()).iter().any(|field| field.name == "totalCount");
        if has_count { "totalCount" } else { "" }
    }

    /// The type of a connection's nodes.
    pub fn node_of(&self, field: &Field) -> String {
        let edge =
            self.fields(field.named()).iter().find(|field| field.name == "edges").expect("a connection has edges");
        let node = self.fields(edge.named()).iter().find(|field| field.name == "node").expect("an edge has a node");
        node.named().to_owned()
    }
}

/// One way of selecting.
struct Walk<'a> {
    sdl: &'a Sdl,
    closed: Option<&'a Closed>,
    /// Of every type, the field (`Type_field`) below which its objects are selected; anywhere, if there is none.
    nearest: Option<BTreeMap<String, String>>,
}

impl Walk<'_> {
    /// Breadth first, the field through which each type is met.
    fn nearest(&self, name: &str, depth: usize) -> BTreeMap<String, String> {
        let mut nearest = BTreeMap::new();
        let mut row = vec![(name.to_owned(), String::new())];
        for _ in 0..=depth {
            for (name, from) in std::mem::take(&mut row) {
                for def in self.objects(&name) {
                    if nearest.contains_key(&def.name) {
                        continue;
                    }
                    nearest.insert(def.name.clone(), from.clone());
                    let below = def.fields.iter().filter(|field| !self.sdl.is_leaf(field.named()));
                    row.extend(below.filter_map(|field| Some((self.target(field)?, self.alias(def, field)?))));
                }
            }
        }
        nearest
    }

    /// The type, or of an interface and a union its types.
    fn objects(&self, name: &str) -> Vec<&Def> {
        match self.sdl.get(name) {
            Some(def) if def.kind == Kind::Object => vec![def],
            Some(_) => self.sdl.implementors(name),
            None => Vec::new(),
        }
    }

    /// `Type_field`, unless it is closed.
    fn alias(&self, def: &Def, field: &Field) -> Option<String> {
        let name = format!("{}_{}", def.name, field.name);
        let is_closed = self.closed.is_some_and(|closed| closed.contains(&name));
        (!is_closed).then_some(name)
    }

    /// What is selected below a field that is no leaf, unless it must be asked for something.
    fn target(&self, field: &Field) -> Option<String> {
        match field.is_connection() {
            true => Some(self.sdl.node_of(field)),
            false => (!field.args.iter().any(Field::is_required)).then(|| field.named().to_owned()),
        }
    }

    fn around(&self, field: &Field, below: &str) -> String {
        match field.is_connection() {
            true => {
                let count = self.sdl.count_of(field);
                format!("{}(first: 20) {{ {count} edges {{ node {{ {below} }} }} }}", field.name)
            }
            false => format!("{} {{ {below} }}", field.name),
        }
    }

    /// All of a type that was met through a field.
    fn selection(&self, name: &str, from: &str, depth: usize) -> String {
        let Some(def) = self.sdl.get(name) else { return String::new() };
        match def.kind {
            Kind::Scalar | Kind::Enum | Kind::Input => String::new(),
            Kind::Interface | Kind::Union => {
                let mut text = "__typename".to_owned();
                for def in self.sdl.implementors(name) {
                    // Two types may give one name to fields of different types.
                    let fields = self.selected(def, from, depth, true);
                    text += &format!(" ... on {} {{ {fields} }}", def.name);
                }
                text
            }
            Kind::Object => self.selected(def, from, depth, self.closed.is_some()),
        }
    }

    fn selected(&self, def: &Def, from: &str, depth: usize, aliased: bool) -> String {
        let depth = self.depth_of(def, from, depth);
        let fields = def.fields.iter().filter_map(|field| {
            let alias = self.alias(def, field)?;
            let text = if self.sdl.is_leaf(field.named()) {
                field.args.is_empty().then(|| field.name.clone())?
            } else {
                self.around(field, &self.selection(&self.target(field)?, &alias, depth.checked_sub(1)?))
            };
            Some(if aliased { format!("{alias}: {text}") } else { text })
        });
        let texts = fields.collect::<Vec<_>>();
        if texts.is_empty() { "__typename".to_owned() } else { texts.join(" ") }
    }

    fn depth_of(&self, def: &Def, from: &str, depth: usize) -> usize {
        let is_near =
            self.nearest.as_ref().is_none_or(|nearest| nearest.get(&def.name).is_some_and(|near| near == from));
        if is_near { depth } else { 0 }
    }

    /// As [`Walk::selection`], in texts that fit and together select all of it.
    fn pieces(&self, name: &str, from: &str, depth: usize) -> Vec<String> {
        let whole = self.selection(name, from, depth);
        if fits(&whole) || self.sdl.is_leaf(name) {
            return vec![whole];
        }
        let members = self.sdl.implementors(name);
        if !members.is_empty() {
            let of_member = |def: &Def| {
                let pieces = self.pieces(&def.name, from, depth);
                let name = def.name.clone();
                pieces.into_iter().map(move |text| format!("__typename ... on {name} {{ {text} }}"))
            };
            return members.into_iter().flat_map(of_member).collect();
        }
        let def = self.sdl.get(name).expect("what is no leaf has a type");
        let Some(depth) = self.depth_of(def, from, depth).checked_sub(1) else { return vec![whole] };
        let leaves = self.selection(name, from, 0);
        let objects = def.fields.iter().filter(|field| !self.sdl.is_leaf(field.named())).flat_map(|field| {
            let (Some(alias), Some(target)) = (self.alias(def, field), self.target(field)) else { return Vec::new() };
            let texts = self.pieces(&target, &alias, depth).into_iter().map(|below| self.around(field, &below));
            texts.map(|text| if self.closed.is_some() { format!("{alias}: {text}") } else { text }).collect()
        });
        std::iter::once(leaves).chain(objects).collect()
    }
}

/// Words and aliases of one selection, with room below the guard's bounds for what stands around it.
const WORDS: usize = 1_200;
const ALIASES: usize = 170;

fn fits(selection: &str) -> bool {
    selection.split_whitespace().count() <= WORDS && selection.matches(": ").count() <= ALIASES
}

impl Def {
    fn of(definition: TypeDefinition) -> Self {
        let mut members = Vec::new();
        let (kind, implements, fields) = match definition.kind {
            TypeKind::Scalar => (Kind::Scalar, Vec::new(), Vec::new()),
            TypeKind::Object(ty) => (
                Kind::Object,
                ty.implements.into_iter().map(|name| name.node.to_string()).collect(),
                ty.fields.into_iter().map(|field| Field::of(field.node)).collect(),
            ),
            TypeKind::Interface(ty) => {
                (Kind::Interface, Vec::new(), ty.fields.into_iter().map(|field| Field::of(field.node)).collect())
            }
            TypeKind::Union(ty) => {
                members = ty.members.into_iter().map(|name| name.node.to_string()).collect();
                (Kind::Union, Vec::new(), Vec::new())
            }
            TypeKind::Enum(ty) => (
                Kind::Enum,
                Vec::new(),
                ty.values
                    .into_iter()
                    .map(|value| Field {
                        name: value.node.value.node.to_string(),
                        description: value.node.description.map(|text| text.node),
                        ty: None,
                        args: Vec::new(),
                        has_default: false,
                    })
                    .collect(),
            ),
            TypeKind::InputObject(ty) => {
                (Kind::Input, Vec::new(), ty.fields.into_iter().map(|field| Field::of_input(field.node)).collect())
            }
        };
        Self {
            name: definition.name.node.to_string(),
            kind,
            description: definition.description.map(|text| text.node),
            implements,
            members,
            fields,
        }
    }
}

impl Field {
    fn of(definition: FieldDefinition) -> Self {
        Self {
            name: definition.name.node.to_string(),
            description: definition.description.map(|text| text.node),
            ty: Some(definition.ty.node),
            args: definition.arguments.into_iter().map(|arg| Self::of_input(arg.node)).collect(),
            has_default: false,
        }
    }

    fn of_input(definition: InputValueDefinition) -> Self {
        Self {
            name: definition.name.node.to_string(),
            description: definition.description.map(|text| text.node),
            ty: Some(definition.ty.node),
            args: Vec::new(),
            has_default: definition.default_value.is_some(),
        }
    }
}
