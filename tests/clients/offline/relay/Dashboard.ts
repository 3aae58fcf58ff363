/** A front end's documents as Relay wants them: fragments, connections that page, a refetch by id, subscriptions. */

declare function graphql(source: TemplateStringsArray): unknown;

export const query = graphql`
  query DashboardQuery($count: Int!, $affiliate: ID!) {
    viewer {
      tenant {
        slug
      }
    }
    ...Dashboard_conversions
    affiliate(id: $affiliate) {
      ...Dashboard_affiliate
    }
  }
`;

/** `@connection` and `@refetchable` hold the schema to Relay's rules of connections. */
export const conversions = graphql`
  fragment Dashboard_conversions on Query
  @refetchable(queryName: "DashboardConversionsQuery")
  @argumentDefinitions(cursor: { type: "String" }, filter: { type: "ConversionFilterInput" }) {
    conversions(first: $count, after: $cursor, filter: $filter) @connection(key: "Dashboard_conversions") {
      edges {
        node {
          id
          ...Dashboard_conversion
        }
      }
    }
  }
`;

/** Refetched by `node(id:)`, as Relay does by itself. */
export const conversion = graphql`
  fragment Dashboard_conversion on Conversion @refetchable(queryName: "DashboardConversionQuery") {
    orderId
    status
    saleAmount {
      amount
      currency
    }
    commissions {
      amount {
        amount
        currency
      }
      explanation {
        summary
      }
    }
  }
`;

export const affiliate = graphql`
  fragment Dashboard_affiliate on Affiliate
  @refetchable(queryName: "DashboardAffiliateQuery")
  @argumentDefinitions(count: { type: "Int", defaultValue: 10 }, cursor: { type: "String" }) {
    name
    enrollments(first: $count, after: $cursor) @connection(key: "Dashboard_enrollments") {
      edges {
        node {
          campaign {
            name
          }
        }
      }
    }
  }
`;

export const approve = graphql`
  mutation DashboardApproveMutation($input: ApproveConversionsInput!) {
    approveConversions(input: $input) {
      items {
        conversion {
          ...Dashboard_conversion
        }
        userErrors {
          code
          field
          message
        }
      }
    }
  }
`;

export const live = graphql`
  subscription DashboardConversionsSubscription($after: Cursor, $filter: ConversionFilterInput) {
    conversions(after: $after, filter: $filter) {
      cursor
      type
      conversion {
        id
        ...Dashboard_conversion
      }
    }
  }
`;

export const earnings = graphql`
  subscription DashboardEarningsSubscription($affiliate: ID!, $after: Cursor) {
    earnings(affiliateId: $affiliate, after: $after) {
      cursor
      balances {
        available {
          amount
          currency
        }
      }
    }
  }
`;
