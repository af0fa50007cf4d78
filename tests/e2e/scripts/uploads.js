// Keeps the sizes of the frames that are sent, and how many were on their way at once at most.
() => {
  const real = window.fetch;
  window.uploads = { sizes: [], most: 0 };
  let now = 0;
  window.fetch = async (address, options) => {
    if (address !== '/generate') return real(address, options);
    window.uploads.sizes.push(options.body.get('input').size);
    now += 1;
    window.uploads.most = Math.max(window.uploads.most, now);
    try {
      return await real(address, options);
    } finally {
      now -= 1;
    }
  };
};
