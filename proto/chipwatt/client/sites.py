"""Questions about sites: PUE, water and carbon, now and over a window."""

from __future__ import annotations

from chipwatt.client import placement_values as v
from chipwatt.client.channel import Channel
from chipwatt.client.reading import read, write
from chipwatt.client.reading import request as asked
from chipwatt.v1 import placement_pb2 as pb
from chipwatt.v1 import placement_pb2_grpc


class SiteClient(Channel):
    """The part of a PlacementClient that is about sites."""

    @property
    def _placement(self) -> placement_pb2_grpc.PlacementServiceStub:
        return self._stub(placement_pb2_grpc.PlacementServiceStub)

    def site_factors(self, site_id: str) -> v.SiteFactors:
        """Return a site's PUE, water and carbon as they were given; those that hold now."""
        return self.site_window(site_id).factors

    def site_window(
        self, site_id: str, *, start_unix_ns: int = 0, end_unix_ns: int = 0
    ) -> v.SiteWindow:
        """Return what holds from a time (0: now) to another, which is part by part.

        Without an end it is what holds at the start alone. Raises NotKnown where nobody
        has told.
        """
        request = asked(
            pb.GetSiteFactorsRequest,
            site_id=site_id,
            start_unix_ns=start_unix_ns,
            end_unix_ns=end_unix_ns,
        )
        return read(v.SiteWindow, self._call(self._placement.GetSiteFactors, request))

    def put_site_factors(self, factors: v.SiteFactors) -> v.SiteFactors:
        """Give a site's PUE, water and carbon, for their window; returns them as they are kept.

        Raises WrongState where too many sets of the site hold now or later.
        """
        request = asked(pb.PutSiteFactorsRequest, factors=write(factors, pb.SiteFactors()))
        return read(v.SiteFactors, self._call(self._placement.PutSiteFactors, request).factors)
