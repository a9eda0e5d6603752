"""What leaves the collector and for whom: between the store and every one who reads it.

``policy`` says what a role may see under ``[privacy]``; ``shield`` makes a device that one
workload holds alone as coarse as the workload; ``noise`` and ``budget`` are the tier
``dp``: integer noise from OpenDP, and how much of it a workload has left today.
"""
