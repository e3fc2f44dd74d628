"""The reference hub: receives, stores, then receipts; shows the doctor what came."""
