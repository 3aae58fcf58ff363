/** A page of affiliates in React: fragments that mask, a mutation with its refusals, a page after the other. */

import { useMutation, useQuery } from '@apollo/client/react';

import { graphql, useFragment, type FragmentType } from '../../generated/front-ends/index.ts';

const AFFILIATE = graphql(`
  fragment Affiliate on Affiliate {
    id
    name
    status
    enrollments(first: 3) {
      edges {
        node {
          campaign {
            name
          }
        }
      }
    }
  }
`);

const AFFILIATES = graphql(`
  query Affiliates($after: String, $filter: AffiliateFilterInput) {
    affiliates(first: 20, after: $after, filter: $filter, order: CREATED_DESC) {
      totalCount
      pageInfo {
        hasNextPage
        endCursor
      }
      nodes {
        id
        ...Affiliate
      }
    }
  }
`);

const APPROVE = graphql(`
  mutation ApproveAffiliate($input: AffiliateStatusInput!) {
    approveAffiliate(input: $input) {
      affiliate {
        ...Affiliate
      }
      userErrors {
        code
        field
        message
      }
    }
  }
`);

function Row(props: { affiliate: FragmentType<typeof AFFILIATE> }) {
  const affiliate = useFragment(AFFILIATE, props.affiliate);
  const [approve, { data }] = useMutation(APPROVE);
  const refusals = data?.approveAffiliate.userErrors ?? [];
  return (
    <li>
      {affiliate.name} in {affiliate.enrollments.edges.map(({ node }) => node.campaign?.name).join(', ')}
      {affiliate.status === 'PENDING' && (
        <button onClick={() => approve({ variables: { input: { id: affiliate.id } } })}>Approve</button>
      )}
      {refusals.map(({ code, message }) => (
        <p key={code}>{code === 'INVALID_TRANSITION' ? 'Somebody else was quicker.' : message}</p>
      ))}
    </li>
  );
}

export function Affiliates() {
  const { data, fetchMore } = useQuery(AFFILIATES, { variables: { filter: { statuses: ['PENDING', 'ACTIVE'] } } });
  if (!data) return null;
  const { nodes, pageInfo, totalCount } = data.affiliates;
  return (
    <>
      <h1>{totalCount} affiliates</h1>
      {nodes.map((affiliate) => (
        <Row key={affiliate.id} affiliate={affiliate} />
      ))}
      {pageInfo.hasNextPage && (
        <button onClick={() => fetchMore({ variables: { after: pageInfo.endCursor } })}>More</button>
      )}
    </>
  );
}
