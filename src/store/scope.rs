//! The one door to the rows: a transaction that belongs to a tenant.
//!
//! Every find filters by the scope's tenant, every insert stamps it, and on PostgreSQL row-level security is told it as
//! the first statement. Nobody outside `store` can make a query, because nobody holds a connection.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, DbBackend, DeleteMany,
    FromQueryResult, IdenStatic, IntoActiveModel, Iterable, QueryFilter, QueryTrait, Select, Statement, UpdateMany,
    Value,
    sea_query::{InsertStatement, OnConflict},
};
use tributary_entity::{
    entry,
    ids::{AffiliateId, CampaignId},
    scope::{Identified, OwnedByAffiliate, Scoped},
};

use super::{
    arrays,
    deferral::Connection,
    dialect,
    error::StoreError,
    events, ledger, programme,
    replica::Writing,
    sequences::{self, Steps},
    shares::Share,
    spanned::Spanned,
};
use crate::domain::{
    event::{Committed, NewEvent},
    tenancy::{Ring, TenantScope},
};

/// A transaction of one tenant. Dropped without [`Tx::commit`], it rolls back.
pub struct Tx {
    inner: Connection,
    scope: TenantScope,
    backend: DbBackend,
    /// Events of this transaction, numbered and written at commit: the counter row that numbers them is held shortest.
    pending: Vec<NewEvent>,
    /// Entries of this transaction's journals, which are numbered from 1 in it; written at commit, as events are.
    entries: Vec<entry::Model>,
    /// How many journals those are of.
    journals: i64,
    /// Whose hourly totals this transaction changes.
    counted: BTreeSet<(CampaignId, AffiliateId)>,
    /// It changes what batches remember.
    changes_programme: AtomicBool,
    /// The version of the programme that it was decided by.
    relies_on: Option<i64>,
    spanned: Spanned,
    _held: Held,
}

/// What a transaction holds for as long as it lives; given back last.
pub(super) struct Held {
    /// Of the tenant's connections.
    pub _share: Option<Share>,
    pub _writing: Option<Writing>,
}

impl Tx {
    /// Of a transaction that is begun, and on PostgreSQL told whose it is.
    pub(super) fn open(
        inner: DatabaseTransaction,
        scope: TenantScope,
        backend: DbBackend,
        spanned: Spanned,
        held: Held,
    ) -> Self {
        let (pending, entries) = (Vec::new(), Vec::new());
        let inner = Connection::new(inner);
        Self {
            inner,
            scope,
            backend,
            pending,
            entries,
            journals: 0,
            counted: BTreeSet::new(),
            changes_programme: AtomicBool::new(false),
            relies_on: None,
            spanned,
            _held: held,
        }
    }

    /// Whose rows this transaction sees.
    pub const fn scope(&self) -> &TenantScope {
        &self.scope
    }

    pub(super) const fn backend(&self) -> DbBackend {
        self.backend
    }

    /// For one statement: they are counted.
    pub(super) fn connection(&self) -> &Connection {
        self.spanned.count();
        &self.inner
    }

    /// A select over the tenant's rows of a table.
    #[expect(clippy::disallowed_methods, reason = "the one home of finds: the tenant is filtered here")]
    pub(super) fn find<E: Scoped>(&self) -> Select<E> {
        E::find().filter(E::tenant_column().eq(self.scope.tenant_id()))
    }

    /// A select over the rows that the scope's ring may see: an affiliate's own, or all of the tenant's.
    pub(super) fn visible<E: OwnedByAffiliate>(&self) -> Select<E> {
        match self.scope.ring() {
            Ring::Tenant => self.find(),
            Ring::Affiliate(id) => self.find().filter(E::affiliate_column().eq(id)),
        }
    }

    /// The rows with these ids that the scope's ring may see, each looked up by itself; see [`dialect::join_each`].
    ///
    /// # Errors
    /// As the database answers.
    pub(super) async fn visible_by_ids<E>(&self, ids: &[E::Id]) -> Result<Vec<E::Model>, StoreError>
    where
        E: Identified + OwnedByAffiliate,
    {
        let columns: Vec<String> = E::Column::iter().map(|column| format!("found.{}", column.as_str())).collect();
        let mut condition = format!("found.tenant_id = $1 AND found.{} = wanted.id", E::id_column().as_str());
        let mut bound: Vec<Value> = vec![self.scope.tenant_id().into()];
        if let Ring::Affiliate(id) = self.scope.ring() {
            let owner = dialect::bind(&mut bound, id);
            condition.push_str(&format!(" AND found.{} = {owner}", E::affiliate_column().as_str()));
        }
        let mut rows = Vec::with_capacity(ids.len());
        for ids in ids.chunks(INSERT_ROWS) {
            let mut values = bound.clone();
            let wanted = arrays::relation(self.backend, ids.iter().map(|id| vec![(*id).into()]), &mut values)?;
            let sql = format!(
                "WITH wanted (id) AS ({wanted}) SELECT {} FROM wanted {}",
                columns.join(", "),
                dialect::join_each(self.backend, E::default().table_name(), &condition)
            );
            rows.extend(E::Model::find_by_statement(self.statement(sql, values)).all(self.connection()).await?);
        }
        Ok(rows)
    }

    /// A select of one row by its id.
    pub(super) fn by_id<E: Identified>(&self, id: E::Id) -> Select<E>
    where
        Value: From<E::Id>,
    {
        self.find::<E>().filter(E::id_column().eq(id))
    }

    /// Notes that a table is written.
    fn note<E: Scoped>(&self) {
        if programme::has::<E>() {
            self.changes_programme.store(true, Relaxed);
        }
    }

    /// Says by which version of the programme this transaction was decided: its commit fails when another one is in force.
    pub const fn rely(&mut self, version: i64) {
        self.relies_on = Some(version);
    }

    /// An update over the tenant's rows of a table.
    #[expect(clippy::disallowed_methods, reason = "the one home of updates: the tenant is filtered here")]
    pub(super) fn update_many<E: Scoped>(&self) -> UpdateMany<E> {
        self.note::<E>();
        E::update_many().filter(E::tenant_column().eq(self.scope.tenant_id()))
    }

    /// A delete over the tenant's rows of a table.
    #[expect(clippy::disallowed_methods, reason = "the one home of deletes: the tenant is filtered here")]
    pub(super) fn delete_many<E: Scoped>(&self) -> DeleteMany<E> {
        self.note::<E>();
        E::delete_many().filter(E::tenant_column().eq(self.scope.tenant_id()))
    }

    /// Inserts rows, stamped with the scope's tenant whatever they say, in few statements.
    ///
    /// # Errors
    /// As the database answers; nothing of the statement is kept then.
    pub(super) async fn insert_all<E>(&mut self, rows: Vec<E::Model>) -> Result<(), StoreError>
    where
        E: Scoped,
        E::Model: IntoActiveModel<E::ActiveModel>,
        E::ActiveModel: Send,
    {
        self.insert_ignoring::<E>(rows, None).await.map(drop)
    }

    /// As [`Tx::insert_all`], together with what else is inserted before the transaction's next other statement: what it
    /// runs into is told by that one, at the latest by the commit.
    ///
    /// # Errors
    /// `Inconsistent` for a row without a value.
    pub(super) fn insert_later<E>(&mut self, rows: Vec<E::Model>, key: Option<&[E::Column]>) -> Result<(), StoreError>
    where
        E: Scoped,
        E::Model: IntoActiveModel<E::ActiveModel>,
        E::ActiveModel: Send,
    {
        let insertions = self.insertions::<E>(rows, key)?;
        self.inner.defer(insertions);
        Ok(())
    }

    /// Writes what [`Tx::insert_later`] left to be written.
    ///
    /// # Errors
    /// As the database answers, about any of it.
    pub async fn write_deferred(&mut self) -> Result<(), StoreError> {
        Ok(self.inner.flush().await?)
    }

    /// As [`Tx::insert_all`]; rows that run into the key of these columns are passed over, into any
    /// key where none are named. Answers how many went in.
    pub(super) async fn insert_ignoring<E>(
        &mut self,
        rows: Vec<E::Model>,
        key: Option<&[E::Column]>,
    ) -> Result<u64, StoreError>
    where
        E: Scoped,
        E::Model: IntoActiveModel<E::ActiveModel>,
        E::ActiveModel: Send,
    {
        let mut inserted = 0;
        for statement in self.insertions::<E>(rows, key)? {
            inserted += self.connection().execute_raw(statement).await?.rows_affected();
        }
        Ok(inserted)
    }

    /// The statements that insert rows.
    fn insertions<E>(&self, rows: Vec<E::Model>, key: Option<&[E::Column]>) -> Result<Vec<Statement>, StoreError>
    where
        E: Scoped,
        E::Model: IntoActiveModel<E::ActiveModel>,
        E::ActiveModel: Send,
    {
        self.note::<E>();
        let chunk = (dialect::bind_limit(self.backend) / E::Column::iter().count()).clamp(1, INSERT_ROWS);
        let mut statements = Vec::with_capacity(rows.len().div_ceil(chunk));
        let mut rows = rows.into_iter().map(|row| {
            let mut row = row.into_active_model();
            row.set(E::tenant_column(), self.scope.tenant_id().into());
            row
        });
        loop {
            let batch: Vec<E::ActiveModel> = rows.by_ref().take(chunk).collect();
            if batch.is_empty() {
                return Ok(statements);
            }
            statements.push(match self.backend {
                DbBackend::Postgres => self.insertion_of_arrays::<E>(&batch, key)?,
                backend => {
                    let mut insert = insertion_of_values::<E>(batch);
                    if let Some(columns) = key {
                        let mut on_conflict = OnConflict::columns(columns.iter().copied());
                        insert.on_conflict(on_conflict.do_nothing().to_owned());
                    }
                    backend.build(&insert)
                }
            });
        }
    }

    /// One statement whose text does not tell how many rows it inserts.
    fn insertion_of_arrays<E: Scoped>(
        &self,
        rows: &[E::ActiveModel],
        key: Option<&[E::Column]>,
    ) -> Result<Statement, StoreError> {
        let table = E::default().table_name().to_owned();
        let name = |column: &E::Column| format!("\"{}\"", column.as_str());
        let written: Vec<E::Column> =
            E::Column::iter().filter(|column| column.as_str() != E::tenant_column().as_str()).collect();
        let mut types = Vec::with_capacity(written.len());
        for column in &written {
            let value = rows.first().and_then(|row| row.get(*column).into_value());
            types.push(value.as_ref().and_then(arrays::type_name).ok_or_else(|| unset(*column))?);
        }
        let mut columns = arrays::Columns::new(types);
        for (column, array) in written.iter().zip(columns.arrays()) {
            for row in rows {
                array.push(&row.get(*column).into_value().ok_or_else(|| unset(*column))?);
            }
        }
        let names: Vec<String> = std::iter::once(name(&E::tenant_column())).chain(written.iter().map(name)).collect();
        let mut values: Vec<Value> = vec![self.scope.tenant_id().into()];
        let select = columns.into_select("$1", &mut values);
        let mut sql = format!("INSERT INTO \"{table}\" ({}) {select}", names.join(", "));
        if let Some(key) = key {
            let target: Vec<String> = key.iter().map(name).collect();
            let target = if target.is_empty() { String::new() } else { format!("({}) ", target.join(", ")) };
            sql.push_str(&format!(" ON CONFLICT {target}DO NOTHING"));
        }
        Ok(self.statement(sql, values))
    }

    /// Inserts one row.
    ///
    /// # Errors
    /// As the database answers.
    pub(super) async fn insert<E>(&mut self, row: E::Model) -> Result<(), StoreError>
    where
        E: Scoped,
        E::Model: IntoActiveModel<E::ActiveModel>,
        E::ActiveModel: Send,
    {
        self.insert_all::<E>(vec![row]).await
    }

    /// Overwrites one row, found by its primary key inside the tenant.
    ///
    /// # Errors
    /// [`StoreError::Inconsistent`] when there is no such row.
    pub(super) async fn save<E>(&mut self, id: E::Id, row: E::Model) -> Result<(), StoreError>
    where
        E: Identified,
        Value: From<E::Id>,
        E::Model: IntoActiveModel<E::ActiveModel>,
        E::ActiveModel: Send,
    {
        let row = row.into_active_model().reset_all();
        let mut update = self.update_many::<E>().filter(E::id_column().eq(id));
        for column in E::Column::iter() {
            if let Some(value) = row.get(column).into_value() {
                update = update.col_expr(column, sea_orm::sea_query::Expr::value(value));
            }
        }
        let result = update.exec(self.connection()).await?;
        if result.rows_affected == 1 {
            Ok(())
        } else {
            Err(StoreError::inconsistent("(update)", format!("{} rows for one id", result.rows_affected)))
        }
    }

    /// A statement whose text is ours and whose `$n` values are bound.
    pub(super) fn statement(&self, sql: impl Into<String>, values: Vec<Value>) -> Statement {
        let sql = sql.into();
        match self.backend {
            DbBackend::Sqlite => {
                let (sql, values) = dialect::anonymous(&sql, &values);
                Statement::from_sql_and_values(self.backend, sql, values)
            }
            _ => Statement::from_sql_and_values(self.backend, sql, values),
        }
    }

    /// Adds an event to those that the commit will number, in order.
    pub fn record(&mut self, event: NewEvent) {
        self.pending.push(event);
    }

    /// Adds a journal's entries to those that the commit will number, in order. Its row is there.
    pub(super) fn enter(&mut self, entries: impl Iterator<Item = entry::Model>) {
        self.journals += 1;
        let seq = self.journals;
        self.entries.extend(entries.map(|entry| entry::Model { seq, ..entry }));
    }

    /// Notes whose hourly totals change with this transaction.
    pub(super) fn count(&mut self, owners: impl Iterator<Item = (CampaignId, AffiliateId)>) {
        self.counted.extend(owners);
    }

    /// Numbers and writes the recorded events and the entries of posted journals, and commits.
    ///
    /// # Errors
    /// As the database answers; nothing of the transaction is kept then (or, when the connection broke at the very
    /// commit, its outcome is unknown, which idempotency keys resolve). `Conflict` when it [relies](Tx::rely) on what is no
    /// longer so.
    pub async fn commit(mut self) -> Result<Committed, StoreError> {
        let (pending, entries) = (std::mem::take(&mut self.pending), std::mem::take(&mut self.entries));
        let changes_programme = self.changes_programme.load(Relaxed);
        let steps = Steps { events: pending.len(), journals: self.journals, changes_programme };
        let before = sequences::advance(&mut self, &steps).await?;
        if let Some(version) = self.relies_on {
            let current = match &before {
                Some(counters) => counters.programme_version,
                None => programme::version(&self).await?,
            };
            if current != version {
                return Err(StoreError::raced("the programme was changed"));
            }
        }
        let events = match before {
            Some(before) => {
                ledger::append_entries(&mut self, entries, before.journal_seq)?;
                events::append(&mut self, pending, before.event_seq)?
            }
            None => Vec::new(),
        };
        self.inner.commit().await?;
        self.spanned.commit();
        Ok(Committed { events, counted: self.counted })
    }
}

/// Rows of one insert: more would only make a longer text.
pub(super) const INSERT_ROWS: usize = 1_000;

/// A row of ours has a value in every column, of a type that our tables have.
fn unset(column: impl IdenStatic) -> StoreError {
    StoreError::inconsistent("(insert)", format!("no value for {}", column.as_str()))
}

#[expect(clippy::disallowed_methods, reason = "the one home of inserts: the tenant was stamped before")]
fn insertion_of_values<E: Scoped>(rows: Vec<E::ActiveModel>) -> InsertStatement {
    E::insert_many(rows).into_query()
}

/// `column IN (ids)`, false for none.
pub(super) fn any_of<C, V>(column: C, values: impl IntoIterator<Item = V>) -> Condition
where
    C: ColumnTrait,
    V: Into<Value>,
{
    Condition::all().add(column.is_in(values))
}
