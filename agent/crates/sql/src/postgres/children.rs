//! Which nodes a node of the parse tree holds: a table of every node kind that the grammar makes.
//!
//! The walk names only what it has something to say about; everything else passes through here, so
//! that no construct, however rare, can hide a sub-select. A test compares the table with what the
//! tree serialises to.

use pg_query::NodeEnum;
use pg_query::protobuf::{self, Node, RangeVar, SelectStmt};

/// What a walk is told about, one call per child.
pub(super) trait Visitor<'a> {
    /// A node of any kind other than the two below.
    fn node(&mut self, node: &'a NodeEnum);
    /// A relation's name.
    fn relation(&mut self, relation: &'a RangeVar);
    /// A query.
    fn select(&mut self, select: &'a SelectStmt);
}

/// Passes what `node` holds to `visitor`, in the order of the text where the grammar keeps it.
pub(super) fn each_child<'a>(node: &'a NodeEnum, visitor: &mut dyn Visitor<'a>) {
    node.children(visitor);
}

/// Passes all that a query holds to `visitor`.
pub(super) fn each_clause<'a>(select: &'a SelectStmt, visitor: &mut dyn Visitor<'a>) {
    select.children(visitor);
}

/// Something that holds nodes.
trait Parent {
    fn children<'a>(&'a self, visitor: &mut dyn Visitor<'a>);
}

/// A field of a node: hands itself to the visitor, or what it holds where it is only a wrapping.
pub(super) trait Field {
    /// Tells `visitor` what this field holds.
    fn hand<'a>(&'a self, visitor: &mut dyn Visitor<'a>);
}

impl Field for Node {
    fn hand<'a>(&'a self, visitor: &mut dyn Visitor<'a>) {
        match &self.node {
            Some(NodeEnum::RangeVar(relation)) => visitor.relation(relation),
            Some(NodeEnum::SelectStmt(select)) => visitor.select(select),
            Some(node) => visitor.node(node),
            None => {}
        }
    }
}

impl<T: Field> Field for Vec<T> {
    fn hand<'a>(&'a self, visitor: &mut dyn Visitor<'a>) {
        for item in self {
            item.hand(visitor);
        }
    }
}

impl<T: Field> Field for Option<T> {
    fn hand<'a>(&'a self, visitor: &mut dyn Visitor<'a>) {
        if let Some(item) = self {
            item.hand(visitor);
        }
    }
}

impl<T: Field> Field for Box<T> {
    fn hand<'a>(&'a self, visitor: &mut dyn Visitor<'a>) {
        self.as_ref().hand(visitor);
    }
}

impl Field for RangeVar {
    fn hand<'a>(&'a self, visitor: &mut dyn Visitor<'a>) {
        visitor.relation(self);
    }
}

impl Field for SelectStmt {
    fn hand<'a>(&'a self, visitor: &mut dyn Visitor<'a>) {
        visitor.select(self);
    }
}

/// Declares the parents: `variant: message { fields that hold nodes }`.
macro_rules! parents {
    ($($variant:ident: $message:ident { $($field:ident)* })*) => {
        $(impl Parent for protobuf::$message {
            fn children<'a>(&'a self, visitor: &mut dyn Visitor<'a>) {
                $(self.$field.hand(visitor);)*
            }
        })*

        impl Parent for NodeEnum {
            fn children<'a>(&'a self, visitor: &mut dyn Visitor<'a>) {
                match self {
                    $(NodeEnum::$variant(node) => node.children(visitor),)*
                    _ => {}
                }
            }
        }
    };
}

/// Declares the messages that stand in a field without a node around them.
macro_rules! fields {
    ($($message:ident)*) => {
        $(impl Field for protobuf::$message {
            fn hand<'a>(&'a self, visitor: &mut dyn Visitor<'a>) {
                self.children(visitor);
            }
        })*
    };
}

parents! {
    Alias: Alias { colnames }
    RangeVar: RangeVar { alias }
    IntoClause: IntoClause { rel col_names options }
    GroupingFunc: GroupingFunc { args refs }
    NamedArgExpr: NamedArgExpr { arg }
    BoolExpr: BoolExpr { args }
    SubLink: SubLink { testexpr oper_name subselect }
    CollateExpr: CollateExpr { arg }
    CaseExpr: CaseExpr { arg args defresult }
    CaseWhen: CaseWhen { expr result }
    RowExpr: RowExpr { args colnames }
    CoalesceExpr: CoalesceExpr { args }
    MinMaxExpr: MinMaxExpr { args }
    XmlExpr: XmlExpr { named_args arg_names args }
    JsonValueExpr: JsonValueExpr { raw_expr formatted_expr }
    JsonIsPredicate: JsonIsPredicate { expr }
    JsonBehavior: JsonBehavior { expr }
    NullTest: NullTest { arg }
    BooleanTest: BooleanTest { arg }
    JoinExpr: JoinExpr { larg rarg using_clause join_using_alias quals alias }
    TypeName: TypeName { names typmods array_bounds }
    ColumnRef: ColumnRef { fields }
    AExpr: AExpr { name lexpr rexpr }
    TypeCast: TypeCast { arg type_name }
    CollateClause: CollateClause { arg collname }
    FuncCall: FuncCall { funcname args agg_order agg_filter over }
    AIndices: AIndices { lidx uidx }
    AIndirection: AIndirection { arg indirection }
    AArrayExpr: AArrayExpr { elements }
    ResTarget: ResTarget { indirection val }
    MultiAssignRef: MultiAssignRef { source }
    SortBy: SortBy { node use_op }
    WindowDef: WindowDef { partition_clause order_clause start_offset end_offset }
    RangeSubselect: RangeSubselect { subquery alias }
    RangeFunction: RangeFunction { functions alias coldeflist }
    RangeTableFunc: RangeTableFunc { docexpr rowexpr namespaces columns alias }
    RangeTableFuncCol: RangeTableFuncCol { type_name colexpr coldefexpr }
    RangeTableSample: RangeTableSample { relation method args repeatable }
    ColumnDef: ColumnDef {
        type_name raw_default cooked_default identity_sequence coll_clause constraints
        fdwoptions
    }
    TableLikeClause: TableLikeClause { relation }
    IndexElem: IndexElem { expr collation opclass opclassopts }
    DefElem: DefElem { arg }
    LockingClause: LockingClause { locked_rels }
    XmlSerialize: XmlSerialize { expr type_name }
    PartitionElem: PartitionElem { expr collation opclass }
    PartitionSpec: PartitionSpec { part_params }
    PartitionBoundSpec: PartitionBoundSpec { listdatums lowerdatums upperdatums }
    PartitionRangeDatum: PartitionRangeDatum { value }
    PartitionCmd: PartitionCmd { name bound }
    GroupingSet: GroupingSet { content }
    WithClause: WithClause { ctes }
    InferClause: InferClause { index_elems where_clause }
    OnConflictClause: OnConflictClause { infer target_list where_clause }
    CtesearchClause: CteSearchClause { search_col_list }
    CtecycleClause: CteCycleClause { cycle_col_list cycle_mark_value cycle_mark_default }
    CommonTableExpr: CommonTableExpr {
        aliascolnames ctequery search_clause cycle_clause ctecolnames ctecoltypes
        ctecoltypmods ctecolcollations
    }
    MergeWhenClause: MergeWhenClause { condition target_list values }
    ReturningClause: ReturningClause { options exprs }
    JsonOutput: JsonOutput { type_name }
    JsonArgument: JsonArgument { val }
    JsonFuncExpr: JsonFuncExpr { context_item pathspec passing output on_empty on_error }
    JsonTablePathSpec: JsonTablePathSpec { string }
    JsonTable: JsonTable { context_item pathspec passing columns on_error alias }
    JsonTableColumn: JsonTableColumn { type_name pathspec columns on_empty on_error }
    JsonKeyValue: JsonKeyValue { key value }
    JsonParseExpr: JsonParseExpr { expr output }
    JsonScalarExpr: JsonScalarExpr { expr output }
    JsonSerializeExpr: JsonSerializeExpr { expr output }
    JsonObjectConstructor: JsonObjectConstructor { exprs output }
    JsonArrayConstructor: JsonArrayConstructor { exprs output }
    JsonArrayQueryConstructor: JsonArrayQueryConstructor { query output }
    JsonAggConstructor: JsonAggConstructor { output agg_filter agg_order over }
    JsonObjectAgg: JsonObjectAgg { constructor arg }
    JsonArrayAgg: JsonArrayAgg { constructor arg }
    RawStmt: RawStmt { stmt }
    InsertStmt: InsertStmt {
        relation cols select_stmt on_conflict_clause returning_clause with_clause
    }
    DeleteStmt: DeleteStmt { relation using_clause where_clause returning_clause with_clause }
    UpdateStmt: UpdateStmt {
        relation target_list where_clause from_clause returning_clause with_clause
    }
    MergeStmt: MergeStmt {
        relation source_relation join_condition merge_when_clauses returning_clause
        with_clause
    }
    SelectStmt: SelectStmt {
        distinct_clause into_clause target_list from_clause where_clause group_clause
        having_clause window_clause values_lists sort_clause limit_offset limit_count
        locking_clause with_clause larg rarg
    }
    ReturnStmt: ReturnStmt { returnval }
    PlassignStmt: PlAssignStmt { indirection val }
    CreateSchemaStmt: CreateSchemaStmt { schema_elts }
    AlterTableStmt: AlterTableStmt { relation cmds }
    AlterTableCmd: AlterTableCmd { def }
    AlterCollationStmt: AlterCollationStmt { collname }
    AlterDomainStmt: AlterDomainStmt { type_name def }
    GrantStmt: GrantStmt { objects privileges grantees }
    ObjectWithArgs: ObjectWithArgs { objname objargs objfuncargs }
    AccessPriv: AccessPriv { cols }
    GrantRoleStmt: GrantRoleStmt { granted_roles grantee_roles opt }
    AlterDefaultPrivilegesStmt: AlterDefaultPrivilegesStmt { options action }
    CopyStmt: CopyStmt { relation query attlist options where_clause }
    VariableSetStmt: VariableSetStmt { args }
    CreateStmt: CreateStmt {
        relation table_elts inh_relations partbound partspec of_typename constraints
        nnconstraints options
    }
    Constraint: Constraint {
        raw_expr keys including exclusions options where_clause pktable fk_attrs pk_attrs
        fk_del_set_cols old_conpfeqop
    }
    CreateTableSpaceStmt: CreateTableSpaceStmt { options }
    AlterTableSpaceOptionsStmt: AlterTableSpaceOptionsStmt { options }
    AlterTableMoveAllStmt: AlterTableMoveAllStmt { roles }
    CreateExtensionStmt: CreateExtensionStmt { options }
    AlterExtensionStmt: AlterExtensionStmt { options }
    AlterExtensionContentsStmt: AlterExtensionContentsStmt { object }
    CreateFdwStmt: CreateFdwStmt { func_options options }
    AlterFdwStmt: AlterFdwStmt { func_options options }
    CreateForeignServerStmt: CreateForeignServerStmt { options }
    AlterForeignServerStmt: AlterForeignServerStmt { options }
    CreateForeignTableStmt: CreateForeignTableStmt { base_stmt options }
    CreateUserMappingStmt: CreateUserMappingStmt { options }
    AlterUserMappingStmt: AlterUserMappingStmt { options }
    ImportForeignSchemaStmt: ImportForeignSchemaStmt { table_list options }
    CreatePolicyStmt: CreatePolicyStmt { table roles qual with_check }
    AlterPolicyStmt: AlterPolicyStmt { table roles qual with_check }
    CreateAmStmt: CreateAmStmt { handler_name }
    CreateTrigStmt: CreateTrigStmt {
        relation funcname args columns when_clause transition_rels constrrel
    }
    CreateEventTrigStmt: CreateEventTrigStmt { whenclause funcname }
    CreatePlangStmt: CreatePLangStmt { plhandler plinline plvalidator }
    CreateRoleStmt: CreateRoleStmt { options }
    AlterRoleStmt: AlterRoleStmt { options }
    AlterRoleSetStmt: AlterRoleSetStmt { setstmt }
    DropRoleStmt: DropRoleStmt { roles }
    CreateSeqStmt: CreateSeqStmt { sequence options }
    AlterSeqStmt: AlterSeqStmt { sequence options }
    DefineStmt: DefineStmt { defnames args definition }
    CreateDomainStmt: CreateDomainStmt { domainname type_name coll_clause constraints }
    CreateOpClassStmt: CreateOpClassStmt { opclassname opfamilyname datatype items }
    CreateOpClassItem: CreateOpClassItem { name order_family class_args storedtype }
    CreateOpFamilyStmt: CreateOpFamilyStmt { opfamilyname }
    AlterOpFamilyStmt: AlterOpFamilyStmt { opfamilyname items }
    DropStmt: DropStmt { objects }
    TruncateStmt: TruncateStmt { relations }
    CommentStmt: CommentStmt { object }
    SecLabelStmt: SecLabelStmt { object }
    DeclareCursorStmt: DeclareCursorStmt { query }
    IndexStmt: IndexStmt {
        relation index_params index_including_params options where_clause exclude_op_names
    }
    CreateStatsStmt: CreateStatsStmt { defnames stat_types exprs relations }
    StatsElem: StatsElem { expr }
    AlterStatsStmt: AlterStatsStmt { defnames stxstattarget }
    CreateFunctionStmt: CreateFunctionStmt { funcname parameters return_type options sql_body }
    FunctionParameter: FunctionParameter { arg_type defexpr }
    AlterFunctionStmt: AlterFunctionStmt { func actions }
    DoStmt: DoStmt { args }
    CallStmt: CallStmt { funccall outargs }
    RenameStmt: RenameStmt { relation object }
    AlterObjectDependsStmt: AlterObjectDependsStmt { relation object }
    AlterObjectSchemaStmt: AlterObjectSchemaStmt { relation object }
    AlterOwnerStmt: AlterOwnerStmt { relation object }
    AlterOperatorStmt: AlterOperatorStmt { opername options }
    AlterTypeStmt: AlterTypeStmt { type_name options }
    RuleStmt: RuleStmt { relation where_clause actions }
    TransactionStmt: TransactionStmt { options }
    CompositeTypeStmt: CompositeTypeStmt { typevar coldeflist }
    CreateEnumStmt: CreateEnumStmt { type_name vals }
    CreateRangeStmt: CreateRangeStmt { type_name params }
    AlterEnumStmt: AlterEnumStmt { type_name }
    ViewStmt: ViewStmt { view aliases query options }
    CreatedbStmt: CreatedbStmt { options }
    AlterDatabaseStmt: AlterDatabaseStmt { options }
    AlterDatabaseSetStmt: AlterDatabaseSetStmt { setstmt }
    DropdbStmt: DropdbStmt { options }
    AlterSystemStmt: AlterSystemStmt { setstmt }
    ClusterStmt: ClusterStmt { relation params }
    VacuumStmt: VacuumStmt { options rels }
    VacuumRelation: VacuumRelation { relation va_cols }
    ExplainStmt: ExplainStmt { query options }
    CreateTableAsStmt: CreateTableAsStmt { query into }
    RefreshMatViewStmt: RefreshMatViewStmt { relation }
    LockStmt: LockStmt { relations }
    ConstraintsSetStmt: ConstraintsSetStmt { constraints }
    ReindexStmt: ReindexStmt { relation params }
    CreateConversionStmt: CreateConversionStmt { conversion_name func_name }
    CreateCastStmt: CreateCastStmt { sourcetype targettype func }
    CreateTransformStmt: CreateTransformStmt { type_name fromsql tosql }
    PrepareStmt: PrepareStmt { argtypes query }
    ExecuteStmt: ExecuteStmt { params }
    DropOwnedStmt: DropOwnedStmt { roles }
    ReassignOwnedStmt: ReassignOwnedStmt { roles }
    AlterTsdictionaryStmt: AlterTsDictionaryStmt { dictname options }
    AlterTsconfigurationStmt: AlterTsConfigurationStmt { cfgname tokentype dicts }
    PublicationTable: PublicationTable { relation where_clause columns }
    PublicationObjSpec: PublicationObjSpec { pubtable }
    CreatePublicationStmt: CreatePublicationStmt { options pubobjects }
    AlterPublicationStmt: AlterPublicationStmt { options pubobjects }
    CreateSubscriptionStmt: CreateSubscriptionStmt { publication options }
    AlterSubscriptionStmt: AlterSubscriptionStmt { publication options }
    List: List { items }
    IntList: IntList { items }
    OidList: OidList { items }
}

fields! {
    Alias CollateClause CreateStmt CteCycleClause CteSearchClause FuncCall GrantStmt
    InferClause IntoClause JsonAggConstructor JsonBehavior JsonKeyValue JsonOutput
    JsonTablePathSpec JsonValueExpr ObjectWithArgs OnConflictClause PartitionBoundSpec
    PartitionSpec PublicationTable ReturningClause TypeName VariableSetStmt WindowDef
    WithClause
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::tests::corpus::STATEMENTS;

    /// Counts the nodes that the table reaches.
    #[derive(Default)]
    struct Count(usize);

    impl<'a> Visitor<'a> for Count {
        fn node(&mut self, node: &'a NodeEnum) {
            self.0 += 1;
            each_child(node, self);
        }

        fn relation(&mut self, relation: &'a RangeVar) {
            relation.children(self);
        }

        fn select(&mut self, select: &'a SelectStmt) {
            select.children(self);
        }
    }

    /// Counts the nodes in the serialised tree, except the two kinds that also stand without a node.
    fn nodes_in(value: &serde_json::Value) -> usize {
        match value {
            serde_json::Value::Array(items) => items.iter().map(nodes_in).sum(),
            serde_json::Value::Object(fields) => fields
                .iter()
                .map(|(name, inner)| {
                    // A field of a message may be called `node` too; what it holds begins in lower case.
                    let kind = inner
                        .as_object()
                        .and_then(|inner| inner.keys().next())
                        .filter(|kind| kind.starts_with(char::is_uppercase));
                    let counts = name == "node"
                        && kind.is_some_and(|kind| kind != "RangeVar" && kind != "SelectStmt");
                    usize::from(counts) + nodes_in(inner)
                })
                .sum(),
            _ => 0,
        }
    }

    #[test]
    fn the_table_reaches_every_node_of_the_tree() {
        for text in STATEMENTS {
            let tree = pg_query::parse(text, 0).expect(text);
            let mut count = Count::default();
            for statement in &tree.protobuf.stmts {
                statement.stmt.hand(&mut count);
            }
            let value = serde_json::to_value(&tree.protobuf.stmts).expect("a tree serialises");
            assert_eq!(count.0, nodes_in(&value), "{text}");
        }
    }
}
