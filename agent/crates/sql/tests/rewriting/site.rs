//! The database that the cases are about, and what holds in a section of them.

use weir_sql::catalog::Function;
use weir_sql::postgres::{Context, Orders, Outcome, govern};
use weir_sql::{Catalog, ColumnMask, ColumnName, Facts, Mask, Naming, RowFilter, SessionModes};

/// What holds for some cases.
pub(crate) struct Section {
    masks: Vec<(ColumnName, Mask)>,
    filters: Vec<RowFilter>,
    naming: Naming,
    store_masked: bool,
    reviewed: Vec<String>,
    catalog: Catalog,
}

impl Section {
    /// Reads the lines below a section's title.
    pub(crate) fn read(head: &str) -> Self {
        let mut section = Self {
            masks: Vec::new(),
            filters: Vec::new(),
            naming: Naming {
                search_path: vec!["app".to_owned(), "public".to_owned()],
                certain: true,
                ..Naming::default()
            },
            store_masked: false,
            reviewed: Vec::new(),
            catalog: catalog(),
        };
        for line in head.lines().skip(1) {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "mask" => {
                    let (name, mask) = rest.split_once(' ').expect("a column and a mask");
                    section.masks.push((column(name), mask_of(mask)));
                }
                "filter" => {
                    let (name, condition) =
                        rest.split_once(' ').expect("a relation and a condition");
                    let (schema, relation) = name.split_once('.').expect("with its schema");
                    section.filters.push(RowFilter {
                        schema: schema.to_owned(),
                        relation: relation.to_owned(),
                        condition: condition.to_owned(),
                    });
                }
                "path" => {
                    section.naming.search_path =
                        rest.split_whitespace().map(str::to_owned).collect();
                }
                "uncertain" => section.naming.certain = false,
                "late" => section.naming.veiled = true,
                "temporary" => {
                    section.naming.temporary = rest.split_whitespace().map(str::to_owned).collect();
                }
                "store" => section.store_masked = true,
                "reviewed" => section.reviewed.push(rest.to_owned()),
                _ => panic!("{line:?} says nothing"),
            }
        }
        section
    }

    /// What becomes of a statement, as the files have it.
    pub(crate) fn rewrite(&self, statement: &str) -> String {
        let context = Context {
            modes: SessionModes::default(),
            catalog: &self.catalog,
            naming: &self.naming,
        };
        let governed = govern(statement.as_bytes(), &context, &mut |facts| {
            self.orders(facts)
        });
        match governed.outcome {
            Ok(Outcome::Unchanged) => "==".to_owned(),
            Ok(Outcome::Rewritten(rewritten)) => format!("=> {}", rewritten.text),
            Err(obstacle) => format!("!! {obstacle}"),
        }
    }

    /// As a policy decides: over all that is within reach.
    fn orders(&self, facts: &Facts) -> Orders {
        let mask = |name: &ColumnName| {
            let of = |(masked, mask): &(ColumnName, Mask)| (masked == name).then_some(*mask);
            self.masks.iter().find_map(of)
        };
        let masks = facts
            .reachable
            .iter()
            .filter_map(|reachable| {
                let below = reachable.bases.iter().filter_map(mask);
                let strictest = below.chain(mask(&reachable.column)).max()?;
                Some(ColumnMask {
                    column: reachable.column.clone(),
                    mask: strictest,
                })
            })
            .chain(
                facts
                    .reachable
                    .iter()
                    .flat_map(|reachable| &reachable.bases)
                    .filter_map(|base| {
                        Some(ColumnMask {
                            column: base.clone(),
                            mask: mask(base)?,
                        })
                    }),
            )
            .collect();
        let within = |filter: &&RowFilter| {
            let is = |name: &ColumnName| {
                name.schema == filter.schema && name.relation == filter.relation
            };
            facts
                .reachable
                .iter()
                .any(|reachable| is(&reachable.column) || reachable.bases.iter().any(is))
        };
        Orders {
            protect: true,
            masks,
            filters: self.filters.iter().filter(within).cloned().collect(),
            store_masked: self.store_masked,
            reviewed_functions: self.reviewed.clone(),
            key: [7; 32],
        }
    }
}

fn column(name: &str) -> ColumnName {
    let parts: Vec<&str> = name.split('.').collect();
    let [schema, relation, column] = parts.as_slice() else {
        panic!("{name} is no column");
    };
    ColumnName {
        schema: (*schema).to_owned(),
        relation: (*relation).to_owned(),
        column: (*column).to_owned(),
    }
}

fn mask_of(word: &str) -> Mask {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).expect("a mask")
}

/// A shop: customers and orders, a table with a child, partitions, a table of the same name in two schemas, views.
fn catalog() -> Catalog {
    let customers = vec![
        ("id", "int"),
        ("name", "text"),
        ("email", "text"),
        ("ssn", "text"),
        ("born", "date"),
        ("salary", "numeric(10,2)"),
        ("region", "text"),
    ];
    let mut catalog = Catalog::from_tables(
        [
            ("app.customers", customers),
            ("app.orders", vec![("id", "int"), ("customer_id", "int"), ("region", "text"), ("amount", "int"), ("note", "text")]),
            ("app.notes", vec![("id", "int"), ("note", "text")]),
            ("app.people", vec![("id", "int"), ("ssn", "text")]),
            ("app.staff", vec![("id", "int"), ("ssn", "text"), ("grade", "int")]),
            ("app.visits", vec![("day", "date"), ("ssn", "text"), ("region", "text")]),
            ("app.visits_a", vec![("day", "date"), ("ssn", "text"), ("region", "text")]),
            ("public.notes", vec![("id", "int"), ("note", "text")]),
            ("public.lookup", vec![("id", "int"), ("label", "text")]),
            ("loot.customers", vec![("id", "int"), ("ssn", "text")]),
            ("app.Weird Name", vec![("S S", "text"), ("id", "int")]),
        ],
        [
            ("app.v", "SELECT customers.id, customers.ssn FROM app.customers"),
            ("app.v_upper", "SELECT customers.id, upper(customers.ssn) AS u FROM app.customers"),
            ("app.v_open", "SELECT customers.id, customers.name FROM app.customers"),
            ("app.v_picked", "SELECT customers.id, customers.name FROM app.customers WHERE (customers.ssn < '5'::text)"),
            ("app.v_orders", "SELECT orders.id, orders.amount FROM app.orders"),
            ("app.v_totals", "SELECT orders.region, sum(orders.amount) AS total FROM app.orders GROUP BY orders.region"),
        ],
    )
    .expect("a good catalog")
    .with_child("app.staff", "app.people")
    .expect("both are there")
    .with_child("app.visits_a", "app.visits")
    .expect("both are there");
    let oid = |name: &str| catalog.relation("app", name).expect("it is there").oid;
    let (customers, orders) = (oid("customers"), oid("orders"));
    catalog.referred.insert(customers, vec![orders]);
    for (number, (name, body)) in FUNCTIONS.iter().enumerate() {
        let function = Function {
            oid: 50_000 + u32::try_from(number).expect("few"),
            schema: "app".to_owned(),
            name: (*name).to_owned(),
            language: "sql".to_owned(),
            body: Some((*body).to_owned()),
            kind: 'f',
            volatility: 's',
            security_definer: false,
            calls: Vec::new(),
            extension: None,
            returns: None,
            is_trigger: false,
            settings: Vec::new(),
        };
        catalog
            .functions
            .entry((*name).to_owned())
            .or_default()
            .push(function);
    }
    catalog.operators.insert("<<<".to_owned(), vec![50_001]);
    catalog
}

/// Functions that somebody made: name and body.
const FUNCTIONS: &[(&str, &str)] = &[
    ("twice", "SELECT $1 * 2"),
    ("peek", "SELECT ssn FROM app.customers WHERE id = $1"),
    ("run", "EXECUTE $1"),
    ("set_config", "SELECT 'x'"),
];
