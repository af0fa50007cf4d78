// What axe-core finds in this document by WCAG 2.2 AA and by good practice, each with where it is.
async () => {
  const rules = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
  const { violations, passes } = await axe.run(document, { runOnly: rules });
  if (passes.length < 10) return [`only ${passes.length} rules were looked at`];
  return violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target}: ${failureSummary}`));
};
