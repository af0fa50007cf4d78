// Keeps the next answer of `/generate` back until `release()`. Later frames pass, until one asks for another style: it is
// the last that is sent.
() => {
  const real = window.fetch;
  const sent = { heldBack: false, passed: false, released: false };
  window.sent = sent;
  const released = new Promise((resolve) => {
    window.release = resolve;
  });
  let first = null;
  window.fetch = async (address, options) => {
    if (address !== '/generate') return real(address, options);
    if (sent.passed) return new Promise(() => {});
    const style = options.body.get('style');
    if (first !== null) {
      const response = await real(address, options);
      sent.passed = style !== first;
      return response;
    }
    first = style;
    const response = await real(address, options);
    sent.heldBack = true;
    await released;
    const blob = await response.blob();
    response.blob = async () => {
      sent.released = true;
      return blob;
    };
    return response;
  };
};
